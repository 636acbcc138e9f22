"""Programs that read: curl, IMAPClient, imaplib, poplib."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import poplib
import uuid

import pytest
from imapclient import IMAPClient

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, untrusting


@pytest.fixture
def user(server):
    """An account of its own for each test, with three messages."""
    address = f"u{uuid.uuid4().hex[:12]}@example.test"
    server.cli("user", "add", address, "--password-stdin", octets=PASSWORD.encode() + b"\n")
    with server.smtp() as client:
        for n in range(3):
            client.sendmail("x@client.test", [address], compose(f"<{n}@client.test>", address))
    return address


@pytest.mark.peer("curl")
@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_curl_imap(server, run, user, scheme):
    url = f"{scheme}://{HOST}:{server.ports[scheme]}"
    curl = ["curl", "-sS", "-k", "--user", f"{user}:{PASSWORD}", *(["--ssl-reqd"] if scheme == "imaps" else [])]
    listing = run(*curl, url + "/").stdout
    assert '"/" INBOX' in listing or '"/" "INBOX"' in listing
    assert "\\Trash" in listing
    message = run(*curl, f"{url}/INBOX;UID=2").stdout
    assert "Message-ID: <1@client.test>" in message
    assert run(*curl, f"{url}/INBOX?SUBJECT%20load").stdout.split()[:5] == ["*", "SEARCH", "1", "2", "3"]
    run(*curl, f"{url}/INBOX", "-X", "STORE 1 +FLAGS.SILENT (\\Deleted)")
    run(*curl, f"{url}/INBOX", "-X", "EXPUNGE")
    assert run(*curl, f"{url}/INBOX?ALL").stdout.split() == ["*", "SEARCH", "1", "2"]


@pytest.mark.peer("curl")
def test_curl_imap_append(server, run, user, tmp_path):
    octets = compose("<appended@client.test>", user)
    (tmp_path / "m").write_bytes(octets)
    url = f"imap://{HOST}:{server.ports['imap']}"
    run("curl", "-sS", "--user", f"{user}:{PASSWORD}", "-T", "m", f"{url}/Drafts")
    assert run("curl", "-sS", "--user", f"{user}:{PASSWORD}", f"{url}/Drafts;UID=1").stdout.replace("\n", "\r\n") == octets.decode()


@pytest.mark.peer("curl")
@pytest.mark.parametrize("scheme", ["pop3", "pop3s"])
def test_curl_pop3(server, run, user, scheme):
    url = f"{scheme}://{HOST}:{server.ports[scheme]}"
    curl = ["curl", "-sS", "-k", "--user", f"{user}:{PASSWORD}"]
    assert [line.split()[0] for line in run(*curl, url + "/").stdout.splitlines()] == ["1", "2", "3"]
    assert "Message-ID: <2@client.test>" in run(*curl, f"{url}/3").stdout
    run(*curl, f"{url}/1", "-X", "DELE", "-I")
    assert len(run(*curl, url + "/").stdout.splitlines()) == 2


def test_imapclient(server, user):
    with IMAPClient(HOST, port=server.ports["imap"], ssl=False, timeout=15) as box:
        box.starttls(untrusting())
        box.login(user, PASSWORD)
        names = {name: flags for flags, _, name in box.list_folders()}
        assert {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"} <= names.keys()
        assert box.namespace().personal
        chosen = box.select_folder("INBOX")
        assert chosen[b"EXISTS"] == 3
        uids = box.search(["SUBJECT", "load"])
        assert len(uids) == 3
        got = box.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[1]<0.10>"])
        assert [got[u][b"ENVELOPE"].message_id for u in uids] == [f"<{n}@client.test>".encode() for n in range(3)]
        assert got[uids[0]][b"BODY[1]<0>"] == b"0123456789"
        box.set_flags(uids[:1], [b"\\Flagged", b"$Label1"])
        assert set(box.get_flags(uids[:1])[uids[0]]) - {b"\\Recent"} == {b"\\Flagged", b"$Label1"}
        box.create_folder("Projekte/Übung")
        box.move(uids[:1], "Projekte/Übung")
        box.copy(uids[1:2], "Archive")
        assert box.folder_status("Projekte/Übung", ["MESSAGES"])[b"MESSAGES"] == 1
        box.rename_folder("Projekte/Übung", "Projekte/Fest")
        box.delete_messages(uids[1:2])
        box.uid_expunge(uids[1:2])
        assert box.search() == uids[2:]
        box.idle()
        with server.smtp() as client:
            client.sendmail("x@client.test", [user], compose("<pushed@client.test>", user))
        pushed = []
        for _ in range(10):
            pushed += box.idle_check(timeout=1)
            if any(event == b"EXISTS" for _, event, *_ in pushed):
                break
        box.idle_done()
        assert (2, b"EXISTS") in pushed
        box.logout()


def test_imaplib_over_tls(server, user):
    box = imaplib.IMAP4_SSL(HOST, server.ports["imaps"], ssl_context=untrusting(), timeout=15)
    assert box.authenticate("PLAIN", lambda _: f"\0{user}\0{PASSWORD}".encode())[0] == "OK"
    assert box.append("Sent", r"(\Seen)", imaplib.Time2Internaldate(1_700_000_000), compose("<s@client.test>", user))[0] == "OK"
    assert box.select("Sent")[1] == [b"1"]
    assert box.status("Sent", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")[0] == "OK"
    assert box.search(None, "SENTBEFORE", "1-Jan-2001")[0] == "OK"
    assert box.fetch("1", "(FLAGS INTERNALDATE)")[1][0].count(b"14-Nov-2023") == 1
    assert box.close()[0] == "OK"
    assert box.logout()[0] == "BYE"


def test_wrong_password(server, user):
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        box.login(user, "wrong")
    box.shutdown()


@pytest.mark.parametrize("tls", ["none", "stls", "implicit"])
def test_poplib(server, user, tls):
    if tls == "implicit":
        box: poplib.POP3 = poplib.POP3_SSL(HOST, server.ports["pop3s"], context=untrusting(), timeout=15)
    else:
        box = poplib.POP3(HOST, server.ports["pop3"], timeout=15)
        assert {"UIDL", "TOP", "PIPELINING"} <= box.capa().keys()
        if tls == "stls":
            box.stls(untrusting())
    box.user(user)
    box.pass_(PASSWORD)
    count, octets = box.stat()
    assert count == 3
    assert octets > 0
    uidl = [line.split()[1] for line in box.uidl()[1]]
    assert len(set(uidl)) == 3
    assert b"Message-ID: <0@client.test>" in box.retr(1)[1]
    assert box.top(2, 1)[1][-1].startswith(b"0123456789")
    box.dele(1)
    box.rset()
    box.dele(3)
    box.quit()
    box = server.pop3(user)
    assert [line.split()[1] for line in box.uidl()[1]] == uidl[:2]
    box.quit()
