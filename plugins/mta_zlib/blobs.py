"""``Blobs``: one compressed file for each."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable
from typing import BinaryIO

from mta_hooks.backends.blobfolder import BlobFolder
from mta_zlib.chunks import packed, read_index, read_piece


class ZlibBlobs(BlobFolder):
    """See ``mta_hooks.backends.Blobs``."""

    def pack(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        return packed(chunks)

    def piece_of(self, file: BinaryIO, start: int, length: int | None) -> bytes:
        return read_piece(file, start, length)

    def size_of(self, file: BinaryIO) -> int:
        return read_index(file).size
