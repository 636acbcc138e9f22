"""Started as root: sockets below 1024 are bound first, then the workers are somebody else for good."""
# SPDX-License-Identifier: Apache-2.0

import os
import pwd
from pathlib import Path

import pytest

from mta.testing.clients import compose, message_ids
from mta.testing.peers import can_bind
from mta.testing.server import MailServer

ALICE = "alice@example.test"
HOST = "127.0.0.28"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
@pytest.mark.skipif(not can_bind(HOST, 25), reason="port 25 of 127.0.0.28 cannot be bound")
def test_workers_are_not_root():
    nobody = pwd.getpwnam("nobody")
    server = MailServer({"user": "nobody"})
    server.config["listen"].append(f"smtp://{HOST}:25")
    server.directory.chmod(0o755)
    with server:
        for worker in server.workers:
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines() if ":\t" in line)
            assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
            assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert int(status["CapEff"], 16) == 0
            assert "0" not in status["Groups"].split()
        with server.smtp() as client:
            client.sendmail("x@client.test", [ALICE], compose("<m@client.test>", ALICE))
        with server.imap(ALICE) as box:
            assert list(message_ids(box).values()) == ["<m@client.test>"]
        server.add_users("later@example.test")  # by root, while it runs as nobody
        files = [path for path in server.data_dir.rglob("*") if path.is_file() and path.parent.name != "tls"]
        assert {str(path): path.stat().st_uid for path in files if path.stat().st_uid != nobody.pw_uid} == {}
        assert (server.data_dir / "tls" / "key.pem").stat().st_uid == 0  # the workers are handed the context, not the key
        assert server.stop() == 0
        server.start()
        with server.imap(ALICE) as box:
            assert list(message_ids(box).values()) == ["<m@client.test>"]
