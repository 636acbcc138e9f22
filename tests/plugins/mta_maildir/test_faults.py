"""A disk that fails or is full, and changes that fall into our own."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import errno
import os
from pathlib import Path

import pytest

from mta.model.errors import StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.ids import Uid
from mta.testing.conformance import Backend, append, arrive, rows
from mta_hooks.backends import Database
from mta_maildir import disk

NOBODY: frozenset[str] = frozenset()


def test_an_io_error_of_fsync_ends_the_worker(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox)

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(StorageDead):
                await append(db, inbox)
        monkeypatch.undo()
        assert len(backend.told.dead) == 1

    backend.run(scenario)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StorageFull), (errno.EROFS, StorageReadOnly), (errno.EACCES, TemporaryFailure)]
)
@pytest.mark.parametrize("step", ["os.rename", "os.pwrite"])
def test_what_cannot_be_written_leaves_everything_as_it_was(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], step: str
) -> None:
    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        sent = await db.store.mailbox(user.id, "Sent")
        await append(db, inbox, 2)
        before = await rows(db, inbox)

        def fail(*_arguments: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(step, fail)
        for call in (append(db, inbox), db.store.move(inbox.id, [Uid(1), Uid(2)], sent.id)):
            with pytest.raises(kind):
                await call
        monkeypatch.undo()
        after, moved = await rows(db, inbox), await rows(db, sent)
        assert [row.uid for row in after][: len(before)] == [1, 2] or [row.uid for row in moved] == [1, 2]
        assert len(after) + len(moved) in (2, 3)  # an append whose answer was an error may be there
        again = await append(db, inbox)  # no uid means two messages, whatever was half done
        assert again[0] > max(row.uid for row in [*after, *before])
        assert {bytes(octets) for octets in await db.store.read_many([row.blob for row in [*after, *moved]])} == {b"x\r\n"}
        seen.append(([row.uid for row in await rows(db, inbox)], [row.uid for row in moved]))

    async def later(db: Database) -> None:
        user, inbox = await arrive(db)
        sent = await db.store.mailbox(user.id, "Sent")
        assert ([row.uid for row in await rows(db, inbox)], [row.uid for row in await rows(db, sent)]) == seen[0]

    seen: list[tuple[list[Uid], list[Uid]]] = []
    backend.run(scenario)
    backend.run(later)


def test_below_the_reserve_nothing_new_is_taken(backend: Backend) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        with pytest.raises(StorageFull):
            await append(db, inbox)
        assert await rows(db, inbox) == []

    backend.run(scenario, reserve=2**60)


def test_a_change_from_outside_amid_ours_is_found(backend: Backend, mail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trace in the folder's times is covered by ours: a further look two seconds later sees it."""

    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox)
        real = disk.flush_folder

        def amid(path: str) -> None:
            monkeypatch.undo()
            (mail / "example.test" / "alice" / "new" / "1700000000.M1P1.elsewhere").write_bytes(b"amid\n")
            real(path)

        monkeypatch.setattr(disk, "flush_folder", amid)
        await append(db, inbox)
        backend.told.mailboxes.clear()
        assert len(await rows(db, inbox)) == 2
        for _ in range(100):
            if backend.told.mailboxes:
                break
            await asyncio.sleep(0.1)
        assert len(await rows(db, inbox)) == 3

    backend.run(scenario)
