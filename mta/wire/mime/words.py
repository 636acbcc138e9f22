"""Encoded words (RFC 2047 §2, §6.2; language suffix of RFC 2231 §5): header text as people read it.

Lenient as readers must be: spaces inside a word, words without white space between them, characters that are split between
two words of one charset. Control characters that hide in a word become spaces, so decoded text never makes a new line.
Linear: 200,000 words take well under a second.
"""
# SPDX-License-Identifier: Apache-2.0

import binascii
import re

from mta.wire.mime.charsets import decode

_WORD = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([BbQq])\?([^?]*)\?=")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def decode_words(value: bytes | str) -> str:
    """Return the text of an unfolded header value; octets outside words are UTF-8, or Latin-1 when they are not."""
    text = value if isinstance(value, str) else _plain(value)
    if "=?" not in text:
        return text if text.isprintable() else _CONTROL.sub(" ", text)
    out: list[str] = []
    pending: list[bytes] = []
    charset = ""
    at = 0
    for match in _WORD.finditer(text):
        between = text[at : match.start()]
        if between and not (pending and between.isspace()):  # RFC 2047 §6.2: white space between two words is not shown
            if pending:
                out.append(decode(b"".join(pending), charset))
                pending = []
            out.append(between)
        if pending and match[1] != charset:
            out.append(decode(b"".join(pending), charset))
            pending = []
        charset = match[1]
        pending.append(_octets(match[2], match[3]))
        at = match.end()
    if pending:
        out.append(decode(b"".join(pending), charset))
    out.append(text[at:])
    return _CONTROL.sub(" ", "".join(out))


def _plain(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _octets(encoding: str, text: str) -> bytes:
    octets = text.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return binascii.a2b_qp(octets, header=True)
    return decode_base64(octets)


def decode_base64(octets: bytes) -> bytes:
    """Return what can be decoded: foreign octets are passed over, missing padding is added, a torn end is dropped."""
    try:
        return binascii.a2b_base64(octets)
    except binascii.Error:
        pass
    clean = _NOT_BASE64.sub(b"", octets)
    whole = len(clean) - (1 if len(clean) % 4 == 1 else 0)
    return binascii.a2b_base64(clean[:whole] + b"==")


def decode_quoted_printable(octets: bytes) -> bytes:
    """Without white space at the ends of lines, which a transport added (RFC 2045 §6.7 rule 3), also behind a soft break's "="."""
    return binascii.a2b_qp(_TRAILING.sub(b"", octets))


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
