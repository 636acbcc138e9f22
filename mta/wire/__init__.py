"""Octets to values and back, for every protocol and format that mta speaks: no I/O, no clock, no log."""
# SPDX-License-Identifier: Apache-2.0
