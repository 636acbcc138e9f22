"""Libraries that keep a copy of an inbox: imap-tools, aioimaplib, imapflow. Changes on both sides, a second run that finds nothing, IDLE."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from aioimaplib import aioimaplib
from imap_tools import AND, MailboxFolderDeleteError, MailBoxStartTls, MailMessageFlags

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, untrusting

ROOT = Path(__file__).parents[2]
IMAPFLOW = ROOT / ".venv/imapflow/node_modules"  # `.ci/run` puts it there, from tests/e2e/imapflow
MESSAGES = 300


def change_far(server, user):
    """Somebody else's session: 20 answered, 20 gone, one new."""
    with server.imap(user) as box:
        box.select("INBOX")
        box.uid("STORE", "41:60", "+FLAGS.SILENT", r"(\Answered)")
        box.uid("STORE", "61:80", "+FLAGS.SILENT", r"(\Deleted)")
        box.expunge()
        box.append("INBOX", None, None, b"Return-Path: <x@client.test>\r\n" + compose("<far@client.test>", user))


def deliver(server, user):
    with server.smtp() as client:
        client.sendmail("x@client.test", [user], compose("<pushed@client.test>", user))


def expected():
    """Message-IDs after both sides changed: 21 to 40 were moved near, 61 to 80 expunged far."""
    gone = set(range(20, 40)) | set(range(60, 80))
    return {f"<m{n}@client.test>" for n in range(MESSAGES) if n not in gone} | {"<near@client.test>", "<far@client.test>"}


def copied(box):
    """Message-ID → flags. A FETCH that tells of others' changes is taken for a message without header."""
    messages = box.fetch(AND(all=True), mark_seen=False, headers_only=True, bulk=100)
    return {m.headers["message-id"][0]: set(m.flags) - {MailMessageFlags.RECENT} for m in messages if m.headers}


def test_imap_tools(server, filled):
    user = filled(MESSAGES)
    with MailBoxStartTls(HOST, server.ports["imap"], timeout=15, ssl_context=untrusting()).login(user, PASSWORD) as box:
        assert copied(box) == {f"<m{n}@client.test>": set() for n in range(MESSAGES)}
        box.flag([str(n) for n in range(1, 21)], MailMessageFlags.FLAGGED, True)
        box.folder.create("Projekte/Übung")
        box.move([str(n) for n in range(21, 41)], "Projekte/Übung", chunks=7)
        box.append(compose("<near@client.test>", user), "INBOX", flag_set=[MailMessageFlags.SEEN])
        change_far(server, user)
        box.client.noop()
        state = copied(box)
        assert state.keys() == expected()
        assert {name for name, flags in state.items() if "\\Flagged" in flags} == {f"<m{n}@client.test>" for n in range(20)}
        assert {name for name, flags in state.items() if "\\Answered" in flags} == {f"<m{n}@client.test>" for n in range(40, 60)}
        assert copied(box) == state
        assert box.folder.status("Projekte/Übung")["MESSAGES"] == 20
        assert sorted(box.uids(AND(from_="load@client.test"), sort="REVERSE ARRIVAL"), key=int) == sorted(
            box.uids(AND(subject="load"), charset="UTF-8"), key=int
        )
        names = {folder.name: folder.flags for folder in box.folder.list()}
        assert "\\Trash" in names["Trash"]
        assert "Projekte/Übung" in names
        box.folder.rename("Projekte/Übung", "Fest")
        with pytest.raises(MailboxFolderDeleteError):
            box.folder.delete("Projekte/Übung")
        with box.idle as idle:
            deliver(server, user)
            assert b"* 263 EXISTS" in idle.poll(timeout=10)


async def aio_state(box):
    """UID → (Message-ID, flags)."""
    answer = await box.uid("fetch", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert answer.result == "OK", answer
    state = {}
    for line in answer.lines:
        if found := re.match(rb"\d+ FETCH \(.*UID (\d+) .*FLAGS \(([^)]*)\)", line):
            uid, flags = int(found[1]), set(found[2].decode().split()) - {"\\Recent"}
        elif isinstance(line, bytearray):
            state[uid] = line.split()[1].decode(), flags
    return state


def test_aioimaplib(server, filled):
    user = filled(MESSAGES)

    async def scenario():
        box = aioimaplib.IMAP4_SSL(HOST, server.ports["imaps"], timeout=15, ssl_context=untrusting())
        await box.wait_hello_from_server()
        assert (await box.login(user, PASSWORD)).result == "OK"
        assert box.has_capability("IDLE")
        assert (await box.select("INBOX")).result == "OK"
        assert len(await aio_state(box)) == MESSAGES
        assert (await box.uid("store", "1:20", "+FLAGS.SILENT", r"(\Flagged)")).result == "OK"
        assert (await box.uid("move", "21:40", "Archive")).result == "OK"
        assert (await box.append(compose("<near@client.test>", user), "INBOX", r"(\Seen)")).result == "OK"
        await asyncio.to_thread(change_far, server, user)
        await box.noop()
        state = await aio_state(box)
        assert {name for name, _ in state.values()} == expected()
        assert [uid for uid, (_, flags) in state.items() if "\\Flagged" in flags] == list(range(1, 21))
        assert [uid for uid, (_, flags) in state.items() if "\\Answered" in flags] == list(range(41, 61))
        await box.noop()
        assert await aio_state(box) == state
        idle = await box.idle_start(timeout=20)
        await asyncio.to_thread(deliver, server, user)
        assert b"263 EXISTS" in await box.wait_server_push(timeout=10)
        box.idle_done()
        await asyncio.wait_for(idle, 10)
        assert (await box.search("ALL", charset=None)).lines[0].split()[-1] == b"263"
        await box.logout()

    asyncio.run(scenario())


@pytest.mark.peer("node")
@pytest.mark.skipif(not (IMAPFLOW / "imapflow").is_dir(), reason="not installed: imapflow")
def test_imapflow(server, filled, tmp_path):
    """It enables QRESYNC and COMPRESS, and asks only for what changed."""
    user = filled(MESSAGES)
    state = tmp_path / "state.json"

    def node(verb):
        words = [shutil.which("node"), str(ROOT / "tests/e2e/imapflow/mirror.cjs"), verb, str(server.ports["imap"])]
        return subprocess.Popen(
            [*words, user, PASSWORD, str(state)], stdout=subprocess.PIPE, text=True, env={**os.environ, "NODE_PATH": str(IMAPFLOW)}
        )

    def done(verb):
        process = node(verb)
        out = process.communicate(timeout=60)[0]
        assert process.returncode == 0
        return json.loads(out)

    first = done("sync")
    assert (first["new"], first["changed"], first["gone"]) == (MESSAGES, 0, 0)
    assert "QRESYNC" in first["enabled"]
    assert done("change") == {"moved": 20, "added": 301, "found": [301]}
    change_far(server, user)
    second = done("sync")
    assert (second["new"], second["changed"], second["gone"]) == (2, 40, 40)
    messages = json.loads(state.read_text())["messages"]
    assert {message["id"] for message in messages.values()} == expected()
    assert sorted(int(uid) for uid, message in messages.items() if "\\Flagged" in message["flags"]) == list(range(1, 21))
    third = done("sync")
    assert (third["new"], third["changed"], third["gone"]) == (0, 0, 0)
    process = node("idle")
    assert process.stdout is not None
    assert process.stdout.readline() == "idling\n"
    deliver(server, user)
    assert json.loads(process.communicate(timeout=20)[0])["count"] == 263
    assert process.returncode == 0
