"""Delivery on this machine."""
# SPDX-License-Identifier: Apache-2.0
