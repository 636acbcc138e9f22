"""COMPRESS=DEFLATE (RFC 4978): both directions of one connection, in bounded memory.

Out: a small window and table (48 KiB a connection instead of 256) cost some percent of size. Octets are pushed through when the client is to
have them, not before. In: at most ``PIECE`` octets are unpacked at once, so that a few octets that unpack to gigabytes wait like
any other pipeline that is too long.
"""
# SPDX-License-Identifier: Apache-2.0

import zlib

PIECE = 64 * 1024
_WINDOW = -12
_LEVEL = 3
_MEMORY = 6
_LARGEST_WINDOW = -15
"""The client's is its own choice."""


class Deflate:
    """Raises ValueError for what is no deflate stream."""

    __slots__ = ("_in", "_out", "_packed", "held")

    def __init__(self) -> None:
        self._out = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
        self._in = zlib.decompressobj(_LARGEST_WINDOW)
        self._packed = b""
        self.held = False
        """Octets for the client wait to be pushed through."""

    def pack(self, octets: bytes, *, flush: bool) -> bytes:
        packed = self._out.compress(octets)
        self.held = not flush
        return packed + self._out.flush(zlib.Z_SYNC_FLUSH) if flush else packed

    def waits(self) -> bool:
        """Octets of the client are here that were not unpacked yet."""
        return bool(self._packed)

    def feed(self, octets: bytes) -> None:
        self._packed += octets

    def take(self) -> bytes:
        """The next octets of the client; nothing when all were unpacked."""
        if self._in.eof:
            raise ValueError("the stream has ended")
        try:
            octets = self._in.decompress(self._packed, PIECE)
        except zlib.error as exc:
            raise ValueError("no deflate stream") from exc
        self._packed = self._in.unconsumed_tail
        if self._in.unused_data:
            raise ValueError("octets after the end of the stream")
        return octets
