"""A Maildir that a real Dovecot made, served by us, and taken back by it: UIDs, UIDVALIDITY, flags, keywords, subscriptions stay."""
# SPDX-License-Identifier: Apache-2.0

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.model.ids import ModSeq, Uid
from mta.model.message import Flags
from mta.testing.conformance import Backend, append, arrive, deliver, intake, rows
from mta.testing.dovecot import Dovecot
from mta_hooks.backends import Database

pytestmark = pytest.mark.peer("dovecot")
HELLO = b"Subject: hello\r\n\r\nw\xc3\xb6rld\r\n"


@pytest.fixture
def mail() -> Iterator[Path]:
    """Where another account than ours can go: pytest's folders are closed to it."""
    with tempfile.TemporaryDirectory(prefix="mta-dovecot-") as place:
        os.chmod(place, 0o755)
        folder = Path(place) / "mail"
        folder.mkdir()
        yield folder


@pytest.fixture
def dovecot(mail: Path) -> Dovecot:
    maildir = mail / "example.test" / "alice"
    maildir.mkdir(parents=True)
    for path in (mail, maildir.parent, maildir):
        os.chown(path, Dovecot.uid, -1)
    return Dovecot(mail.parent / "dovecot", maildir)


def shown(dovecot: Dovecot, mailbox: str = "INBOX") -> tuple[int, dict[int, set[str]]]:
    """What Dovecot says: uidvalidity, flags of each uid."""
    client = dovecot.imap()
    assert client.select(mailbox)[0] == "OK"
    validity = int(client.response("UIDVALIDITY")[1][0])
    found = {}
    for line in client.uid("FETCH", "1:*", "(FLAGS)")[1]:
        if line:
            uid, flags = re.search(rb"UID (\d+)", line)[1], re.search(rb"FLAGS \(([^)]*)\)", line)[1]
            found[int(uid)] = set(flags.decode().split()) - {"\\Recent"}
    client.logout()
    return validity, found


def fill(dovecot: Dovecot) -> None:
    client = dovecot.imap()
    for name in ("Sent", "Sent/2024", "Entw&APw-rfe"):
        client.create(name)
    client.subscribe("Sent/2024")
    client.subscribe("Entw&APw-rfe")
    client.append("INBOX", "(\\Seen foo $Forwarded)", '"01-Feb-2024 03:04:05 +0000"', HELLO)
    for _ in range(3):
        client.append("INBOX", None, None, HELLO)
    client.append("Sent/2024", "(\\Answered)", None, HELLO)
    client.select("INBOX")
    client.store("3", "+FLAGS", "(\\Flagged bar)")
    client.store("2", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()


def test_a_maildir_of_dovecot_keeps_everything_that_clients_know(backend: Backend, dovecot: Dovecot) -> None:
    fill(dovecot)
    validity, flags = shown(dovecot)

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        infos = {info.name: info for info in await db.store.mailboxes(user.id)}
        assert set(infos) == {"INBOX", "Sent", "Sent/2024", "Entw\u00fcrfe"}
        assert {name for name, info in infos.items() if info.subscribed} == {"Sent/2024", "Entw\u00fcrfe"}
        assert infos["Sent"].special_use == "\\Sent"
        assert inbox.uid_validity == validity
        found = await rows(db, inbox)
        assert {row.uid: row.flags for row in found} == {1: Flags.SEEN, 3: Flags.FLAGGED, 4: 0}
        assert {row.uid: set(row.keywords.split()) for row in found} == {1: {"foo", "$Forwarded"}, 3: {"bar"}, 4: set()}
        assert found[0].date == 1706756645
        assert {row.size for row in found} == {len(HELLO)}  # Dovecot's files have LF alone
        assert await db.store.read_many([row.blob for row in found]) == [HELLO] * 3
        assert await db.store.read(found[0].blob, 9, 5) == HELLO[9:14]
        status = await db.store.status(inbox.id)
        assert (status.uid_next, status.highest_modseq > 10**9) == (5, True)
        assert (await db.store.changes(inbox.id, ModSeq(40))).vanished == [2]  # a client with a modseq of Dovecot's
        [old] = await rows(db, infos["Sent/2024"])
        assert (old.uid, old.flags) == (1, Flags.ANSWERED)

    backend.run(scenario, scenario)
    assert shown(dovecot) == (validity, flags)


def test_dovecot_takes_back_what_we_did(backend: Backend, dovecot: Dovecot) -> None:
    fill(dovecot)
    validity, _ = shown(dovecot)

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        await db.store.set_flags(inbox.id, [Uid(1)], "set", Flags.ANSWERED, frozenset({"bar", "baz"}))
        await db.store.remove(inbox.id, [Uid(3)])
        assert await append(db, inbox, flags=Flags.DRAFT, keywords="foo", octets=HELLO) == [5]
        await deliver(db, intake(user, octets=HELLO))
        made = await db.store.create(user.id, "New/\u00dcber.uns")
        await db.store.subscribe(user.id, "New/\u00dcber.uns", True)
        await db.store.copy(inbox.id, [Uid(1)], made.id)
        await db.store.move(inbox.id, [Uid(4)], (await db.store.mailbox(user.id, "Sent")).id)

    backend.run(scenario)
    assert shown(dovecot) == (validity, {1: {"\\Answered", "bar", "baz"}, 5: {"\\Draft", "foo"}, 6: set()})
    assert shown(dovecot, "Sent")[1] == {1: set()}
    client = dovecot.imap()
    names = b" ".join(client.list()[1])
    assert b"New/&ANw-ber\\\\2euns" in names or b"New/&ANw-ber\\2euns" in names
    assert b"ber" in b" ".join(client.lsub()[1])
    client.select("INBOX")
    assert client.uid("FETCH", "5:6", "(BODY.PEEK[])")[1][0][1] == HELLO
    client.append("INBOX", None, None, HELLO)
    client.logout()
    assert 7 in shown(dovecot)[1]
    assert "Error" not in dovecot.log.read_text()


def test_both_at_once(backend: Backend, dovecot: Dovecot) -> None:
    fill(dovecot)

    async def scenario(db: Database) -> None:
        user, inbox = await arrive(db)
        modseq = (await db.store.status(inbox.id)).highest_modseq
        client = dovecot.imap()
        client.select("INBOX")
        given: list[int] = []
        for n in range(10):
            client.append("INBOX", None, None, HELLO)
            given += await append(db, inbox, octets=HELLO)
            client.noop()
            client.uid("STORE", str(given[-1]), "+FLAGS", f"(\\Seen k{n})")
            await deliver(db, intake(user, octets=HELLO))
        changes = await db.store.changes(inbox.id, modseq)
        assert len(changes.rows) == 30
        assert {row.keywords for row in changes.rows if row.uid in given} == {f"k{n}" for n in range(10)}
        client.uid("STORE", str(given[0]), "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
        assert (await db.store.changes(inbox.id, changes.highest_modseq)).vanished == [given[0]]
        client.logout()
        ours = {int(row.uid): set(row.keywords.split()) for row in await rows(db, inbox)}
        theirs = {uid: {flag for flag in flags if not flag.startswith("\\")} for uid, flags in shown(dovecot)[1].items()}
        assert ours == theirs

    backend.run(scenario)
    assert "Error" not in dovecot.log.read_text()
