"""SASL mechanisms, server side, as small state machines without I/O (RFC 4422): PLAIN (RFC 4616), LOGIN, SCRAM (RFC 5802).

Shared by SMTP, IMAP and POP3, whose one driver is ``mta.directory.sasl``: it knows base64, initial responses and cancellation.
OAUTHBEARER and what else plugins bring is theirs.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import (
    MAX_RESPONSE,
    Challenge,
    Claim,
    Credentials,
    Identified,
    Outcome,
    Rejected,
    SaslError,
    decode_base64,
    decode_initial,
)
from mta.wire.sasl.login import Login
from mta.wire.sasl.plain import Plain

__all__ = [
    "MAX_RESPONSE",
    "Challenge",
    "Claim",
    "Credentials",
    "Identified",
    "Login",
    "Outcome",
    "Plain",
    "Rejected",
    "SaslError",
    "decode_base64",
    "decode_initial",
]
