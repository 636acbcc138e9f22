"""The maildrop folder, into which everybody may write."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mta.dispatch.maildrop import Maildrop
from mta.model.errors import Refused, TemporaryFailure
from mta.model.reply import Reply
from mta.obs.log import Log
from mta.sendmail.submit import Envelope, by_maildrop


class Pipeline:
    """Remembers what was injected; ``fail`` is raised once."""

    def __init__(self) -> None:
        self.injected: list[SimpleNamespace] = []
        self.fail: Exception | None = None

    async def inject(self, **arguments: Any) -> str:
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        self.injected.append(SimpleNamespace(**arguments))
        return str(arguments["id"])


class Box:
    def __init__(self, folder: Path) -> None:
        self.folder, self.bad, self.pipeline = folder / "maildrop", folder / "bad", Pipeline()
        self.folder.mkdir()
        self.bad.mkdir()
        self.maildrop = Maildrop(
            folder=self.folder,
            bad=self.bad,
            pipeline=self.pipeline,
            hostname="mx.test",
            largest=100_000,
            log=Log(),  # type: ignore[arg-type]
        )

    def drop(self, text: bytes = b"Subject: x\r\n\r\nhi\r\n", sender: str = "a@b.test") -> Path:
        by_maildrop(str(self.folder), Envelope(sender, ["alice@example.test", "bob@example.test"]), text)
        return max(self.folder.iterdir(), key=lambda p: p.stat().st_mtime_ns)

    def collect(self) -> int:
        return asyncio.run(self.maildrop.collect())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def left(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_what_the_command_leaves_is_taken_once(box: Box) -> None:
    box.drop()
    box.drop(sender="")
    assert box.collect() == 2
    assert left(box.folder) == left(box.bad) == 0
    one = next(i for i in box.pipeline.injected if i.sender is not None)
    assert (str(one.sender), [str(r) for r in one.recipients]) == ("a@b.test", ["alice@example.test", "bob@example.test"])
    assert one.octets == b"Subject: x\r\n\r\nhi\r\n"
    assert one.origin == "local"
    assert one.user.endswith("@mx.test")
    assert box.collect() == 0


def test_what_the_sender_wants_reported_is_kept(box: Box) -> None:
    envelope = Envelope("a@b.test", ["alice@example.test"], "DELAY,FAILURE", "HDRS", "my id+1")
    by_maildrop(str(box.folder), envelope, b"Subject: x\r\n\r\nhi\r\n")
    box.drop()
    assert box.collect() == 2
    given = {(i.notify, i.ret, i.envid) for i in box.pipeline.injected}
    assert given == {(frozenset({"DELAY", "FAILURE"}), "HDRS", "my+20id+2B1"), (frozenset(), None, None)}


def test_a_crash_between_commit_and_unlink_gives_the_same_id(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    path = box.drop()
    with monkeypatch.context() as patch:

        def crash(_path: object) -> None:
            raise OSError("crash")

        patch.setattr(os, "unlink", crash)
        with pytest.raises(OSError, match="crash"):
            box.collect()
    assert path.exists()
    box.collect()
    first, second = box.pipeline.injected
    assert first.id == second.id, "the database takes an id once"


def test_ids_differ_between_files(box: Box) -> None:
    for _ in range(5):
        box.drop()
    box.collect()
    assert len({i.id for i in box.pipeline.injected}) == 5


def test_a_temporary_failure_leaves_it_there(box: Box) -> None:
    box.drop()
    box.pipeline.fail = TemporaryFailure("locked")
    assert box.collect() == 0
    assert left(box.folder) == 1
    assert box.collect() == 1


def test_a_refusal_is_kept_for_the_operator(box: Box) -> None:
    box.drop()
    box.pipeline.fail = Refused(Reply(550, "5.7.1", "no"))
    box.collect()
    assert (left(box.folder), left(box.bad)) == (0, 1)


def test_nothing_is_read_through_links(box: Box, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(json.dumps({"sender": None, "recipients": ["a@b.test"]}).encode() + b"\nsecret")
    os.symlink(secret, box.folder / ("a" * 32))
    os.link(secret, box.folder / ("b" * 32))
    os.mkfifo(box.folder / ("c" * 32))
    (box.folder / ("d" * 32)).mkdir()
    box.collect()
    assert box.pipeline.injected == []
    assert left(box.folder) == 0
    assert secret.read_bytes().endswith(b"secret")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"no json\nx",
        b"[]\nx",
        b'{"sender": 5, "recipients": ["a@b.test"]}\nx',
        b'{"sender": null, "recipients": []}\nx',
        b'{"sender": null, "recipients": ["nonsense"]}\nx',
        b'{"sender": null}\nx',
        b'{"sender": null, "recipients": ["a@b.test"]}\n' + b"x" * 100_001,
        b"x" * 2_000_000,
        b'{"sender": null, "recipients": ["a@b.test"]}',
        b'{"sender": null, "recipients": ["a@b.test"], "notify": "SOMETIMES"}\nx',
        b'{"sender": null, "recipients": ["a@b.test"], "ret": 5}\nx',
        b'{"sender": null, "recipients": ["a@b.test"], "envid": "a\\nb"}\nx',
    ],
    ids=range(13),
)
def test_nonsense_is_set_aside(box: Box, octets: bytes) -> None:
    (box.folder / ("e" * 32)).write_bytes(octets)
    (box.folder / "strange name\n").write_bytes(b"x")
    box.drop()
    assert box.collect() == 1, "and is in nobody's way"
    assert (left(box.folder), left(box.bad)) == (0, 2)


def test_unfinished_files_wait_and_are_swept_after_a_day(box: Box) -> None:
    young, old = box.folder / ("tmp-" + "f" * 32), box.folder / ("tmp-" + "0" * 32)
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    box.collect()
    assert young.exists()
    assert not old.exists()


def test_much_mail_is_taken_in_rounds(box: Box) -> None:
    for _ in range(130):
        box.drop()
    assert box.collect() == 100
    assert box.collect() == 30
