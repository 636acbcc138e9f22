"""``Blobs``: octets outside the rows."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.message import OctetContent
from mta.testing.conformance.backend import Backend
from mta_hooks.backends import Database


class BlobsConformance:
    @pytest.mark.parametrize("key", ["a", "00ff", "x-9" * 20])
    def test_what_was_put_is_read_after_a_restart(self, backend: Backend, key: str) -> None:
        octets = bytes(range(256)) * 1000

        async def write(db: Database) -> None:
            db.blobs.put(key, OctetContent(octets))

        async def read(db: Database) -> None:
            assert db.blobs.read(key) == octets
            assert db.blobs.read(key, 255, 3) == octets[255:258]
            assert db.blobs.read(key, len(octets) - 2) == octets[-2:]
            assert db.blobs.read(key, len(octets) + 2, 5) == b""
            assert list(db.blobs.keys()) == [key]
            db.blobs.delete(key)
            db.blobs.delete(key)
            assert list(db.blobs.keys()) == []
            with pytest.raises(KeyError):
                db.blobs.read(key)

        backend.run(write, read)

    @pytest.mark.parametrize("key", ["", "../x", "A", "a/b", "ü", "a" * 65])
    def test_keys_cannot_leave_their_place(self, backend: Backend, key: str) -> None:
        async def scenario(db: Database) -> None:
            with pytest.raises(KeyError):
                db.blobs.put(key, OctetContent(b"x"))
            with pytest.raises(KeyError):
                db.blobs.read(key)

        backend.run(scenario)
