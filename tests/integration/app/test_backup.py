"""mta backup while mail comes in, mta restore into an empty place: every message answered before the backup is read there."""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import stat
from pathlib import Path

import pytest

from mta.testing.clients import Load, compose, message_ids
from mta.testing.server import USERS, MailServer

ALICE, BOB = USERS
LARGE = 400_000


def run(server, *words, status=0):
    done = server.cli(*words, "--json", check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if status == 0 else done.stderr.decode()


def send(server, *ids, size=600):
    with server.smtp() as client:
        for message_id in ids:
            client.sendmail("x@client.test", [ALICE], compose(message_id, ALICE, size=size))


def found(server):
    box = server.imap(ALICE)
    try:
        return sorted(message_ids(box).values())
    finally:
        box.logout()


def elsewhere(tmp_path, database="sqlite"):
    other = MailServer({"database": database}, users=(), directory=tmp_path, protocols=("imap",))
    other.write_config()
    other._prepared = True
    return other


def test_backup_and_restore(tmp_path):
    dest = tmp_path / "backup"
    with MailServer(protocols=("smtp", "imap")) as server:
        send(server, "<large@x>", size=LARGE)
        send(server, "<small@x>")
        assert "lies in data_dir" in run(server, "backup", str(server.data_dir / "b"), status=64)
        with Load(server.smtp, [BOB], threads=1) as load:
            load.wait_acknowledged(5)
            sure = set(load.ledger.acknowledged)
            first = run(server, "backup", str(dest))
            load.wait_acknowledged(2)
        assert (first["checked"], first["bodies_copied"], first["bodies_kept"]) == ("sound", 1, 0)
        send(server, "<later@x>", size=LARGE)
        second = run(server, "backup", str(dest))
        assert (second["checked"], second["bodies_copied"], second["bodies_kept"]) == ("sound", 1, 1)
        assert "server runs" in run(server, "restore", str(dest), status=69)
        config = dest / "config" / str(server.config_file).lstrip("/")
        assert config.read_text() == server.config_file.read_text()
    assert stat.S_IMODE(dest.stat().st_mode) == 0o700
    (tmp_path / "new").mkdir()
    other = elsewhere(tmp_path / "new")
    with other:
        pass
    run(other, "restore", str(dest), status=73)  # it has run: there is data
    got = run(other, "restore", str(dest), "--force")
    assert (got["accounts"], got["checked"]) == (2, "sound")
    assert (Path(got["moved_aside"]) / "mta.db").exists()
    with other:
        assert found(other) == ["<large@x>", "<later@x>", "<small@x>"]
        box = other.imap(ALICE)
        box.select()
        assert {len(item[1]) > LARGE - 100 for item in box.fetch("1,3", "(BODY.PEEK[])")[1] if isinstance(item, tuple)} == {True}
        box.logout()
        box = other.imap(BOB)
        assert sure <= set(message_ids(box).values())
        box.logout()


def test_what_is_no_backup(tmp_path):
    server = MailServer(users=(), protocols=("imap",))
    try:
        server.write_config()
        assert "no database yet" in run(server, "backup", str(tmp_path / "b"), status=69)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thing").write_text("x")
        assert "no backup of ours" in run(server, "backup", str(tmp_path / "mine"), status=73)
        assert "no complete backup" in run(server, "restore", str(tmp_path / "mine"), status=69)
    finally:
        server.close()


def test_damage_is_said_and_the_earlier_backup_holds(tmp_path):
    with MailServer(protocols=("smtp", "imap")) as server:
        send(server, "<large@x>", size=LARGE)
        run(server, "backup", str(tmp_path / "b"))
        send(server, "<more@x>", size=LARGE)
        before = (tmp_path / "b" / "backup.json").read_text()
        kept = {path.name for path in (tmp_path / "b" / "database" / "blobs").rglob("*")}
        for path in (server.data_dir / "blobs").rglob("*"):
            if path.is_file() and path.name not in kept:
                path.unlink()
        assert "is gone" in server.cli("backup", str(tmp_path / "b"), check=False).stderr.decode()
        assert (tmp_path / "b" / "backup.json").read_text() == before


def test_postgresql(tmp_path, postgresql):
    programs = str(postgresql._server.bin_path)
    missing = MailServer({"database": postgresql()}, users=(ALICE,), protocols=("imap",), env={"PATH": "/nonexistent"})
    try:
        missing.prepare()
        assert "pg_dump is not installed" in run(missing, "backup", str(tmp_path / "none"), status=69)
    finally:
        missing.close()
    if not os.path.exists(f"{programs}/pg_dump"):
        pytest.skip("no pg_dump here")
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    server = MailServer({"database": postgresql()}, protocols=("imap", "smtp"), env=env)
    with server:
        send(server, "<large@x>", "<small@x>", size=LARGE)
        assert run(server, "backup", str(tmp_path / "b"))["checked"] == "not"
    (tmp_path / "new").mkdir()
    other = elsewhere(tmp_path / "new", postgresql())
    other.env |= env
    assert run(other, "restore", str(tmp_path / "b"))["accounts"] == 2
    with other:
        assert found(other) == ["<large@x>", "<small@x>"]
