"""Compressed bodies: the public suite, what is on the disk, damage, and a server that changes over."""
# SPDX-License-Identifier: Apache-2.0

import io
import os
import random
import time
from pathlib import Path

import pytest

from mta.model.errors import StorageReadOnly, TemporaryFailure
from mta.model.message import OctetContent
from mta.testing import conformance
from mta.testing.conformance import Backend, append, arrive
from mta.testing.server import MailServer
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql import open_database, open_files
from mta_zlib import open_blobs
from mta_zlib.blobs import ZlibBlobs
from mta_zlib.chunks import CHUNK, Damaged, packed, read_piece

TEXT = b"the same words again and again\r\n" * 30_000


class TestBlobs(conformance.BlobsConformance): ...


class TestSpool(conformance.SpoolConformance): ...


def test_text_shrinks_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    blobs = ZlibBlobs(tmp_path / "z")
    blobs.put("ab-1", OctetContent(TEXT))
    file = tmp_path / "z/ab/ab-1"
    assert file.stat().st_size < len(TEXT) / 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in file.parent.iterdir()] == ["ab-1"]


def test_a_piece_costs_its_own_chunks_alone() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            octets = super().read(size)
            Counting.taken += len(octets)
            return octets

    octets = random.Random(1).randbytes(100 * CHUNK)
    file = Counting(b"".join(packed([octets])))
    assert read_piece(file, 70 * CHUNK - 10, 20) == octets[70 * CHUNK - 10 : 70 * CHUNK + 10]
    assert Counting.taken < 2.2 * CHUNK


@pytest.mark.parametrize("spoil", ["cut", "flip", "trailer", "empty"])
def test_damage_is_told_and_is_not_taken_for_a_message(tmp_path: Path, spoil: str) -> None:
    blobs = ZlibBlobs(tmp_path)
    blobs.put("ab", OctetContent(TEXT))
    file = tmp_path / "ab/ab"
    octets = bytearray(file.read_bytes())
    if spoil == "flip":
        octets[100] ^= 1
    elif spoil == "trailer":
        octets[-15] ^= 1
    file.write_bytes({"cut": octets[:-20], "empty": b""}.get(spoil, octets))
    with pytest.raises(TemporaryFailure, match="ab/ab"):
        blobs.read("ab")


def test_no_octet_changes_unnoticed() -> None:
    octets = random.Random(2).randbytes(300)
    whole = b"".join(packed([octets]))
    for at in range(6, len(whole)):  # the first six say only what it is
        spoiled = bytearray(whole)
        spoiled[at] ^= 0x40
        try:
            found = read_piece(io.BytesIO(spoiled), 0, None)
        except Damaged:
            continue
        assert found == octets  # deflate ignores a few bits


def test_remains_are_swept_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = ZlibBlobs(tmp_path)
    for key in ("named", "orphan"):
        blobs.put(key, OctetContent(b"x"))
    (tmp_path / "or/.cut.new").write_bytes(b"half")
    for path in tmp_path.glob("*/*"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert blobs.sweep({"named"}) == 0
    later = time.monotonic() + 601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert blobs.sweep({"named"}) == 2
    assert list(blobs.keys()) == ["named"]
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a file system that takes no files")
def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises((StorageReadOnly, TemporaryFailure)):
        ZlibBlobs(Path("/sys/kernel")).put("ab", OctetContent(b"x"))


def test_what_was_files_stays_readable_after_the_change_and_verify_finds_damage(tmp_path: Path) -> None:
    big = TEXT[:400_000]

    def backend(*urls: str) -> Backend:
        def make(options: DatabaseOptions) -> Database:
            made = {"file": open_files, "zlib": open_blobs}
            layers = tuple(made[url.partition(":")[0]](url, options) for url in urls)
            fields = {name: getattr(options, name) for name in options.__slots__}
            return open_database("sqlite", DatabaseOptions(**{**fields, "blobs": layers}))

        return Backend(make, tmp_path)

    async def add(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, octets=big)

    async def read(db: Database) -> None:
        _, inbox = await arrive(db)
        changes = await db.store.changes(inbox.id, 0)  # type: ignore[arg-type]
        assert [await db.store.read(row.blob, 5, 100) for row in changes.rows] == [big[5:105]] * len(changes.rows)

    backend().run(add, read)
    backend("zlib:").run(add, read)
    backend("file:", "zlib:").run(add, read)
    assert len(list(tmp_path.glob("blobs/*/*"))) == 2
    [file] = tmp_path.glob("zlib/*/*")
    file.write_bytes(file.read_bytes()[:-1])

    async def is_damaged(db: Database) -> None:
        [line] = await db.verify(lambda _done, _total: None)
        assert str(file) in line

    backend("file:", "zlib:").run(is_damaged, sound=False)


def test_the_server_keeps_large_mail_where_the_config_says(tmp_path: Path) -> None:
    config = {"plugins": {"sql": {}, "zlib": {}}, "storage": {"blobs": f"zlib:{tmp_path}/z"}, "workers": 1}
    with MailServer(config, protocols=("smtp", "imap"), directory=tmp_path) as server:
        octets = b"Subject: big\r\n\r\n" + TEXT
        with server.smtp() as client:
            client.sendmail("x@example.org", ["alice@example.test"], octets)
        with server.imap("alice@example.test") as box:
            box.select()
            kind, data = box.fetch("1", "BODY[]<400000.50>")
            assert kind == "OK"
            whole = box.fetch("1", "BODY[]")[1][0][1]  # type: ignore[index]
            assert whole[400_000:400_050] == data[0][1]  # type: ignore[index]
            assert whole.endswith(TEXT)
        assert b"sound" in server.cli("mailbox", "verify").stdout
    [file] = (tmp_path / "z").glob("*/*")
    assert file.stat().st_size < len(TEXT) / 20
    assert not list((tmp_path / "data").glob("blobs/*/*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_what_root_makes_belongs_to_the_owner_of_the_data_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    ZlibBlobs(tmp_path / "zlib").put("ab", OctetContent(TEXT))
    assert {path.stat().st_uid for path in (tmp_path / "zlib", tmp_path / "zlib/ab", tmp_path / "zlib/ab/ab")} == {65534}
