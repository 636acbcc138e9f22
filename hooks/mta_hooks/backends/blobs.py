"""Octets too large for a database row, kept elsewhere: files, compressed files, an object store."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Container, Iterator
from typing import Protocol

from mta.model.message import Content


class Blobs(Protocol):
    """Write once, read in pieces, delete. Keys are ours: ``[a-z0-9-]{1,64}``, never reused; another is a KeyError.

    Offered with ``registry.backend("blob", scheme, factory)``; ``factory(url, options)`` gets what ``storage.blobs`` says and the
    DatabaseOptions. All methods block and are called in threads, several at a time.
    """

    def put(self, key: str, content: Content) -> None:
        """Store durably: octets and their directory entry are on stable storage when this returns.

        Raises StorageFull, StorageReadOnly, StorageDead; then nothing remains under the key.
        """
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Octets from ``start``, fewer than ``length`` at the end. A small piece of a large blob must be cheap: that is how clients read
        attachments. Raises KeyError when there is no such blob, TemporaryFailure when it is damaged or out of reach."""
        ...

    def size(self, key: str) -> int:
        """Octets that ``read`` would give. Raises KeyError."""
        ...

    def delete(self, key: str) -> None:
        """No error when it is gone already."""
        ...

    def keys(self) -> Iterator[str]:
        """All keys."""
        ...

    def sweep(self, named: Container[str]) -> int:
        """Delete blobs whose key is not in ``named``, and remains of writes that were cut off; but nothing that may be younger than an
        hour, whose row may be on its way, and beware of a clock that jumps. Returns how many."""
        ...
