"""Status lines (RFC 1939 §3) with response codes (RFC 2449 §8, RFC 3206)."""
# SPDX-License-Identifier: Apache-2.0

from typing import Literal

Code = Literal["", "AUTH", "IN-USE", "SYS/TEMP", "SYS/PERM", "LOGIN-DELAY"]

MAX_TEXT = 480
"""RFC 2449 §4: a status line has at most 512 octets."""


def ok(text: str = "") -> bytes:
    """``+OK text``."""
    return f"+OK {_clean(text)}\r\n".encode("ascii") if text else b"+OK\r\n"


def err(text: str, code: Code = "") -> bytes:
    """``-ERR [CODE] text``."""
    return f"-ERR {f'[{code}] ' if code else ''}{_clean(text)}\r\n".encode("ascii")


def _clean(text: str) -> str:
    """One line of printable ASCII, whatever a plugin said."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_TEXT:
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_TEXT])
