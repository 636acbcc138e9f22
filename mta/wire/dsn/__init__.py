"""Delivery status notifications (RFC 3464, RFC 6522, RFC 6533, RFC 3461 §6): from values to the octets of a message."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.dsn.compose import compose
from mta.wire.dsn.report import Action, RecipientReport, Report

__all__ = ["Action", "RecipientReport", "Report", "compose"]
