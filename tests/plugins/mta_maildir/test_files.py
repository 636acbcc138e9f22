"""Names, places and index files, octet by octet."""
# SPDX-License-Identifier: Apache-2.0

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.errors import ConfigError, MailboxNotAllowed
from mta.model.mailbox_name import normalise_name
from mta.model.message import Flags
from mta.testing.conformance import Backend, append, arrive, rows
from mta_hooks.backends import Database
from mta_maildir import filename, keywords, subscriptions, uidlist
from mta_maildir.names import Template, folder_of, name_of


@given(st.text(max_size=60))
def test_every_mailbox_name_has_a_folder_and_back(text: str) -> None:
    try:
        name = normalise_name(text)
        folder = folder_of(name)
    except MailboxNotAllowed:
        return
    assert "/" not in folder
    assert folder.isascii()
    if name != "INBOX":
        assert name_of(folder) == name


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Sent/2024", ".Sent.2024"), ("Entw\u00fcrfe", ".Entw&APw-rfe"), ("a.b/c\\d", ".a\\2eb.c\\5cd"), ("INBOX/x", ".INBOX.x")],
)
def test_folders_are_those_of_dovecot(name: str, folder: str) -> None:
    assert (folder_of(name), name_of(folder)) == (folder, name)


@pytest.mark.parametrize("folder", [".", "..", ".INBOX", ".inbox", ".a..b", ".a\\2fb", ".&bad", ".a*"])
def test_folders_that_are_no_mailbox(folder: str) -> None:
    with pytest.raises(ValueError, match=re.escape(folder)):
        name_of(folder)


@pytest.mark.parametrize("local", ["..", ".", "../bob", "a/b", "%2e", "..\0", "Alice", "..."])
def test_no_account_leads_elsewhere(local: str) -> None:
    roots = {Template("maildir:/srv/mail/%d/%n").root(one, "example.org") for one in (local, "bob", "alice2")}
    assert len(roots) == 3
    for root in roots:
        assert os.path.dirname(root) == "/srv/mail/example.org"


@pytest.mark.parametrize("url", ["maildir:srv/%d/%n", "maildir:/srv/mail", "maildir:/srv/%n", "maildir:/srv/%d/%x", "maildir:"])
def test_a_place_must_be_each_accounts_own(url: str) -> None:
    with pytest.raises(ConfigError, match=r"maildir:/srv/mail/%d/%n"):
        Template(url)


@given(st.binary(max_size=300))
def test_any_octets_are_a_uidlist_or_none(octets: bytes) -> None:
    for head in (b"", b"3 V5 N7 G" + b"0" * 32 + b"\n", b"1 5 7\n"):
        found = uidlist.parse(head + octets)
        assert found is None or all(0 < uid < found.next_uid for uid in found.uids.values())
    assert len(keywords.parse(octets)) <= keywords.MOST


def test_uidlists_as_dovecot_writes_them() -> None:
    head = b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
    lines = b"25006 W1394 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n25023 :1276528488.M1P1.kurkku\n25024 :half"
    found = uidlist.parse(head + lines)
    assert found is not None
    assert (found.validity, found.next_uid, found.guid) == (1275660208, 25024, "3085f01b7f11094c501100008c4a11c1")
    assert found.uids == {"1276528487.M364837P9451.kurkku,S=1355,W=1394": 25006, "1276528488.M1P1.kurkku": 25023}
    assert found.line("1276528487.M364837P9451.kurkku,S=1355,W=1394", 25006, "x") == "25006 W1394 :x\n"
    old = uidlist.parse(b"1 1275660208 25022\n25006 1276528487.M364837P9451.kurkku:2,S\n")
    assert old is not None
    assert old.uids == {"1276528487.M364837P9451.kurkku": 25006}


def test_letters() -> None:
    assert filename.letters_of(Flags.SEEN | Flags.DRAFT, "ba", "PSXz") == "DPSXab"
    assert filename.flags_of("FSZa") == Flags.FLAGGED | Flags.SEEN
    assert filename.keywords_of("acz", ["x", "", "y"]) == ["x", "y"]
    assert filename.sizes("1.M2.h,S=12,W=15") == (12, 15)
    assert filename.split("1.M2.h,S=12:2,FS,more") == ("1.M2.h,S=12", "FS")


@pytest.mark.parametrize("octets", [b"V\t2\n\nINBOX\nSent\t2024\nEntw&APw-rfe\n", b"INBOX\nSent.2024\nEntw&APw-rfe\n"])
def test_both_forms_of_subscriptions(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "subscriptions").write_bytes(octets)
    assert subscriptions.read(str(tmp_path)) == {"INBOX", "Sent/2024", "Entw\u00fcrfe"}
    assert subscriptions.change(str(tmp_path), "New/one", True, 0o600)
    assert not subscriptions.change(str(tmp_path), "New/one", True, 0o600)
    assert (b"New\tone\n" in (tmp_path / "subscriptions").read_bytes()) == octets.startswith(b"V\t2\n\n")
    assert subscriptions.read(str(tmp_path)) == {"INBOX", "Sent/2024", "Entw\u00fcrfe", "New/one"}


def test_a_uidlist_made_anew_by_dovecot_is_another_mailbox(backend: Backend, mail: Path) -> None:
    async def scenario(db: Database) -> None:
        _, inbox = await arrive(db)
        await append(db, inbox, 3)
        await db.store.remove(inbox.id, [1])
        found = uidlist.read(str(mail / "example.test" / "alice"))
        assert found is not None
        names = sorted(found.uids, key=found.uids.__getitem__)[1:]
        lines = "".join(f"{uid} :{name}\n" for uid, name in enumerate(reversed(names), 1))
        text = f"3 V{found.validity + 7} N3 G{found.guid}\n{lines}"
        (mail / "example.test" / "alice" / "dovecot-uidlist").write_text(text)
        _, again = await arrive(db)
        assert (again.id != inbox.id, again.uid_validity) == (True, inbox.uid_validity + 7)
        changes = await db.store.changes(again.id, (await rows(db, again))[0].modseq - 1)
        assert ([row.uid for row in changes.rows], changes.vanished) == ([1, 2], [])
        assert await append(db, again) == [3]

    backend.run(scenario)


def test_left_overs_go_after_a_while(backend: Backend, mail: Path) -> None:
    async def scenario(db: Database) -> None:
        await arrive(db)
        alice = mail / "example.test" / "alice"
        (alice / "tmp" / "left").write_bytes(b"x")
        (alice / "mta-deleted-1-2" / "cur").mkdir(parents=True)
        await db.housekeep(now=time.time())
        assert (alice / "tmp" / "left").exists()
        await db.housekeep(now=time.time() + 2 * 86400)
        assert not (alice / "tmp" / "left").exists()
        assert not (alice / "mta-deleted-1-2").exists()

    backend.run(scenario)
