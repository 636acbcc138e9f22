"""Large bodies as compressed files: ``storage.blobs: zlib:/path``.

Base64 of attachments shrinks by a quarter, text by far more. Each 64 KiB are compressed by themselves, so a piece of a large
attachment costs no more than its own chunks. Left out: small bodies, which are rows of the database.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta_hooks import hookimpl

if TYPE_CHECKING:
    from mta_hooks.backends import Blobs, DatabaseOptions
    from mta_hooks.services import Registry


def open_blobs(url: str, options: "DatabaseOptions") -> "Blobs":
    """``zlib:`` alone is data_dir/zlib; a relative path counts from the data folder."""
    from pathlib import Path

    from mta_zlib.blobs import ZlibBlobs

    path = url.removeprefix("zlib:").removeprefix("//")
    return ZlibBlobs(Path(options.data_dir) / (path or "zlib"))


@hookimpl
def register(registry: "Registry") -> None:
    registry.backend("blob", "zlib", open_blobs)
