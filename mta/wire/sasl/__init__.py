"""SASL exchanges, server side, as small state machines (RFC 4422): PLAIN (RFC 4616) and LOGIN.

Shared by SMTP, IMAP and POP3. What crosses the wire in base64 is decoded strictly and bounded; the result is a pair of names
and a password, which nobody logs. Left out: SCRAM, EXTERNAL, OAUTHBEARER.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import Challenge, Credentials, Exchange, SaslError, decode_base64
from mta.wire.sasl.login import LoginExchange
from mta.wire.sasl.plain import PlainExchange

MECHANISMS: dict[str, type[PlainExchange] | type[LoginExchange]] = {"PLAIN": PlainExchange, "LOGIN": LoginExchange}

__all__ = [
    "MECHANISMS",
    "Challenge",
    "Credentials",
    "Exchange",
    "LoginExchange",
    "PlainExchange",
    "SaslError",
    "decode_base64",
]
