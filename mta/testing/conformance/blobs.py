"""``Blobs``: octets outside the rows."""
# SPDX-License-Identifier: Apache-2.0

import random
from collections.abc import Iterator

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
            assert db.blobs.read(key, 7, 0) == b""
            assert db.blobs.size(key) == len(octets)
            assert list(db.blobs.keys()) == [key]
            db.blobs.delete(key)
            db.blobs.delete(key)
            assert list(db.blobs.keys()) == []
            for gone in (db.blobs.read, db.blobs.size):
                with pytest.raises(KeyError):
                    gone(key)

        backend.run(write, read)

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
    def test_any_piece_of_any_size_is_what_was_put(self, backend: Backend, size: int) -> None:
        octets = random.Random(size).randbytes(size // 2) + b"x" * (size - size // 2)

        async def scenario(db: Database) -> None:
            db.blobs.put("k", OctetContent(octets))
            assert db.blobs.size("k") == size
            for start in (0, 1, size // 2, 65_535, 65_536, max(size - 1, 0), size):
                for length in (None, 0, 1, 65_536, size + 1):
                    assert db.blobs.read("k", start, length) == octets[start : None if length is None else start + length]

        backend.run(scenario)

    def test_a_write_that_fails_leaves_nothing(self, backend: Backend) -> None:
        class Torn(OctetContent):
            def chunks(self, size: int = 65536) -> Iterator[bytes]:
                yield self.octets
                raise RuntimeError("the rest is gone")

        async def scenario(db: Database) -> None:
            with pytest.raises(RuntimeError):
                db.blobs.put("torn", Torn(b"x" * 100_000))
            assert list(db.blobs.keys()) == []
            with pytest.raises(KeyError):
                db.blobs.read("torn")
            db.blobs.put("torn", OctetContent(b"whole"))
            assert db.blobs.read("torn") == b"whole"

        backend.run(scenario)

    def test_a_sweep_spares_what_is_named_and_what_is_young(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            for key in ("named", "young"):
                db.blobs.put(key, OctetContent(b"x"))
            assert db.blobs.sweep({"named"}) == 0
            assert sorted(db.blobs.keys()) == ["named", "young"]

        backend.run(scenario)

    @pytest.mark.parametrize("key", ["", "../x", "A", "a/b", "ü", "a" * 65])
    def test_keys_cannot_leave_their_place(self, backend: Backend, key: str) -> None:
        async def scenario(db: Database) -> None:
            with pytest.raises(KeyError):
                db.blobs.put(key, OctetContent(b"x"))
            with pytest.raises(KeyError):
                db.blobs.read(key)

        backend.run(scenario)
