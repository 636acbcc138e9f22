"""Bodies too large for a row: ``blobs/<two letters>/<key>`` below the data folder, or where ``storage.blobs`` says."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import secrets
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from mta_hooks.backends import Blobs
from mta_hooks.backends.blobfolder import BlobFolder

INLINE = 256 * 1024
"""Bodies below this lie in the row: one read, one fsync, no file."""


def new_key() -> str:
    return secrets.token_hex(16)


class LayeredBlobs:
    """New ones go into the first layer; all are read, so that another may be put first at any time."""

    def __init__(self, layers: Sequence[Blobs]) -> None:
        self._layers = layers
        self.put = layers[0].put

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        for layer in self._layers:
            with contextlib.suppress(KeyError):
                return layer.read(key, start, length)
        raise KeyError(key)

    def size(self, key: str) -> int:
        for layer in self._layers:
            with contextlib.suppress(KeyError):
                return layer.size(key)
        raise KeyError(key)

    def delete(self, key: str) -> None:
        for layer in self._layers:
            layer.delete(key)

    def keys(self) -> Iterator[str]:
        for layer in self._layers:
            yield from layer.keys()

    def sweep(self, named: Container[str]) -> int:
        return sum(layer.sweep(named) for layer in self._layers)


def blobs_of(layers: Sequence[Blobs], data_dir: Path) -> Blobs:
    """``layers`` as the config has them, and behind them the files that have been there from the first day."""
    own = BlobFolder(data_dir / "blobs")
    if any(isinstance(layer, BlobFolder) and layer.folder == own.folder for layer in layers):
        return layers[0] if len(layers) == 1 else LayeredBlobs(layers)
    return LayeredBlobs((*layers, own)) if layers else own


def files_at(url: str, data_dir: str) -> BlobFolder:
    """``file:`` alone, ``file:folder`` below the data folder, ``file:/absolute``."""
    path = url.removeprefix("file:").removeprefix("//")
    return BlobFolder(Path(data_dir) / (path or "blobs"))
