"""The JSON-lines protocol between the server and a process that answers hooks: an executable that stays, or ``isolate: process``.

One JSON object a line, UTF-8, LF. The server asks, the process answers in any order:

    {"id": 7, "hook": "smtp_rcpt", "args": {…}}
    {"id": 7, "verdict": {"action": "reject", "text": "no"}}     of a verdict hook; null is no opinion
    {"id": 7, "result": …}                                       of any other; "notes": {…} may stand beside both
    {"id": 7, "error": "why", "temporary": true}                 temporary: not held against it

A message of up to 64 KiB travels as base64, a larger one as the path of a file that lives as long as the call. What is no such
line ends the process: it cannot be told any more which answer belongs to which message.
"""
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Iterator
from typing import Any

import msgspec

VERSION = 1
LONGEST_LINE = 2**22
"""Octets of one line from a process: a bound on what it can make the server keep."""
INLINE = 2**16
"""Octets of a message up to which it travels within the line."""


def _simple(value: Any) -> Any:
    """Texts and numbers of a plugin's own classes, as what they are."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    raise TypeError(f"{type(value).__name__} is no value that can be sent")


_encode = msgspec.json.Encoder(enc_hook=_simple).encode
_decode = msgspec.json.Decoder().decode


class Rubbish(Exception):
    """Not a line of this protocol; the text says what is wrong with it."""


def encode_line(fields: dict[str, Any]) -> bytes:
    """Octets that are no UTF-8 (surrogates, from headers and addresses) become "?"."""
    try:
        return _encode(fields) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def decode_line(line: bytes | bytearray) -> dict[str, Any]:
    """Raises Rubbish."""
    try:
        fields = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Rubbish(f"a line that is no JSON: {str(exc)[:100]}") from None
    if type(fields) is not dict:
        raise Rubbish("a line that is no JSON object")
    return fields


class Lines:
    """Cuts what arrives into lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | bytearray]:
        """Yield each complete line without its LF. Raises Rubbish for one that is too long."""
        if not self._rest and data.find(b"\n") == len(data) - 1:
            yield data[:-1]
            return
        start = len(self._rest)
        self._rest += data
        while (end := self._rest.find(b"\n", start)) >= 0:
            line = self._rest[:end]
            del self._rest[: end + 1]
            start = 0
            yield line
        if len(self._rest) > LONGEST_LINE:
            raise Rubbish(f"a line longer than {LONGEST_LINE} octets")
