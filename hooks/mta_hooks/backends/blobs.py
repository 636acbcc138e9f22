"""Octets too large for a database row, kept elsewhere: files, later S3."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from typing import Protocol

from mta.model.message import Content


class Blobs(Protocol):
    """Write once, read in pieces, delete. Keys are ours: ``[a-z0-9-]{1,64}``, never reused."""

    def put(self, key: str, content: Content) -> None:
        """Store durably: octets and their directory entry are on stable storage when this returns. Blocking; called off
        the event loop. Raises StorageFull, StorageReadOnly, StorageDead; then nothing remains under the key."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Raises KeyError when there is no such blob."""
        ...

    def delete(self, key: str) -> None:
        """No error when it is gone already."""
        ...

    def keys(self) -> Iterator[str]:
        """All keys, for the sweep of what no row names."""
        ...
