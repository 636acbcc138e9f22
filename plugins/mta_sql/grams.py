"""Trigrams of folded text: what both indexes are made of. A text can only be where all its trigrams are."""
# SPDX-License-Identifier: Apache-2.0

from zlib import crc32

SHORTEST = 3
_MOST = 16
"""Trigrams of a text that are asked for: more narrow no further."""


def storable(text: str) -> str:
    """Without NUL and lone surrogates, which no database takes: the same for what is kept and what is asked."""
    if text.isascii():
        return text.replace("\0", " ") if "\0" in text else text
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


def grams(text: str) -> set[str]:
    return {text[at : at + 3] for at in range(len(text) - 2)}


def asked(text: str) -> list[str]:
    """Some of the trigrams of ``text``, first and last among them; none when it is too short."""
    count = len(text) - 2
    if count <= 0:
        return []
    step = max(1, -(-count // _MOST))
    starts = sorted({*range(0, count, step), count - 1})
    return sorted({text[at : at + 3] for at in starts})


def number(gram: str) -> int:
    """31 bits that stand for a trigram."""
    return crc32(gram.encode()) & 0x7FFFFFFF
