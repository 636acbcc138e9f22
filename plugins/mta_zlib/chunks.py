"""The form of a file: chunks, their lengths, a trailer.

    "mtaz1\\n" · chunk · chunk · … · 4 octets length of each chunk · 8 octets size · 4 octets number of chunks · 4 octets CRC-32 of
    lengths, size and number · "mtaz1\\n"                                                              (numbers big-endian)

A chunk is a zlib stream of 64 KiB, the last one of what is left; its Adler-32 tells damage. The trailer is written last: a file
without it is no blob.
"""
# SPDX-License-Identifier: Apache-2.0

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 65_536
MAGIC = b"mtaz1\n"
LEVEL = 6  # 9 takes twice as long for 1 % less
_TRAILER = struct.Struct(f">QLL{len(MAGIC)}s")


class Damaged(ValueError):
    """Not what was written."""


@dataclass(frozen=True, slots=True)
class Index:
    """``starts``: where each chunk begins, and where the last one ends."""

    size: int
    starts: tuple[int, ...]


def packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The file, piece by piece."""
    yield MAGIC
    lengths, size = [], 0
    for chunk in _evenly(pieces):
        octets = zlib.compress(chunk, LEVEL)
        lengths.append(len(octets))
        size += len(chunk)
        yield octets
    index = struct.pack(f">{len(lengths)}L", *lengths)
    check = zlib.crc32(index + struct.pack(">QL", size, len(lengths)))
    yield index + _TRAILER.pack(size, len(lengths), check, MAGIC)


def _evenly(pieces: Iterable[bytes]) -> Iterator[bytes]:
    left = bytearray()
    for piece in pieces:
        left += piece
        while len(left) >= CHUNK:
            yield bytes(left[:CHUNK])
            del left[:CHUNK]
    if left:
        yield bytes(left)


def read_index(file: BinaryIO) -> Index:
    """Raises Damaged."""
    end = file.seek(0, 2)
    if end < len(MAGIC) + _TRAILER.size:
        raise Damaged("too short")
    file.seek(end - _TRAILER.size)
    size, number, check, magic = _TRAILER.unpack(file.read(_TRAILER.size))
    first = end - _TRAILER.size - 4 * number
    if magic != MAGIC or first < len(MAGIC) or number != -(-size // CHUNK):
        raise Damaged("no trailer")
    file.seek(first)
    index = file.read(4 * number)
    if zlib.crc32(index + struct.pack(">QL", size, number)) != check:
        raise Damaged("wrong index")
    starts = [len(MAGIC)]
    for length in struct.unpack(f">{number}L", index):
        starts.append(starts[-1] + length)
    if starts[-1] != first:
        raise Damaged("wrong lengths")
    return Index(size, tuple(starts))


def read_piece(file: BinaryIO, start: int, length: int | None) -> bytes:
    """Raises Damaged."""
    index = read_index(file)
    stop = index.size if length is None else min(index.size, start + length)
    if start >= stop:
        return b""
    first, last = start // CHUNK, (stop - 1) // CHUNK
    file.seek(index.starts[first])
    octets = memoryview(file.read(index.starts[last + 1] - index.starts[first]))
    out = bytearray()
    for number in range(first, last + 1):
        at = index.starts[number] - index.starts[first]
        try:
            out += zlib.decompress(octets[at : at + index.starts[number + 1] - index.starts[number]])
        except zlib.error as exc:
            raise Damaged(f"chunk {number}: {exc}") from exc
    if len(out) != min(index.size, (last + 1) * CHUNK) - first * CHUNK:
        raise Damaged("chunks of other sizes than the index says")
    return bytes(out[start - first * CHUNK : stop - first * CHUNK])
