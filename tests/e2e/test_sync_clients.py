"""Programs that fetch and synchronize whole mailboxes: offlineimap, getmail, fetchmail, neomutt; a second run finds nothing to do."""
# SPDX-License-Identifier: Apache-2.0

import mailbox

import pytest

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD
from mta.testing.terminal import run_on_terminal

MESSAGES = 300
FEW = 40

OFFLINEIMAP = """
[general]
accounts = it
metadata = {home}/offlineimap
ui = quiet
[Account it]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
[Repository far]
type = IMAP
remotehost = {host}
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = no
starttls = no
auth_mechanisms = PLAIN, LOGIN
usecompression = yes
"""
GETMAIL = """
[retriever]
type = Simple{kind}Retriever
server = {host}
port = {port}
username = {user}
password = {password}
{extra}
[destination]
type = MDA_lmtp
host = {host}
port = {lmtp}
override = {keeper}
[options]
read_all = false
delete = false
verbose = 0
"""


def ids(folder):
    return sorted(message["Message-ID"] for message in mailbox.Maildir(folder, create=False))


def far_ids(server, user):
    with server.imap(user) as box:
        box.select("INBOX", readonly=True)
        found = box.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
        return sorted(item[1].split()[1].decode() for item in found if isinstance(item, tuple))


@pytest.mark.peer("offlineimap")
def test_offlineimap_both_ways(server, run, tmp_path, filled):
    user = filled(MESSAGES)
    (tmp_path / "rc").write_text(
        OFFLINEIMAP.format(home=tmp_path, host=HOST, port=server.ports["imap"], user=user, password=PASSWORD)
    )
    sync = ("offlineimap", "-c", "rc", "-o")
    run(*sync, timeout=120)
    inbox = tmp_path / "mail/INBOX"
    assert ids(inbox) == sorted(f"<m{n}@client.test>" for n in range(MESSAGES))

    near = mailbox.Maildir(inbox, create=False)
    keys = {message["Message-ID"]: key for key, message in near.iteritems()}
    for n in range(20):
        message = near[keys[f"<m{n}@client.test>"]]
        message.set_subdir("cur")
        message.add_flag("F")
        near[keys[f"<m{n}@client.test>"]] = message
    for n in range(20, 40):
        near.discard(keys[f"<m{n}@client.test>"])
    near.add(mailbox.MaildirMessage(compose("<near@client.test>", user)))
    with server.imap(user) as box:
        box.select("INBOX")
        box.uid("STORE", "41:60", "+FLAGS.SILENT", r"(\Answered)")
        box.uid("STORE", "61:80", "+FLAGS.SILENT", r"(\Deleted)")
        box.expunge()
        box.append("INBOX", None, None, compose("<far@client.test>", user))
    run(*sync, timeout=120)

    gone = set(range(20, 40)) | set(range(60, 80))
    expected = sorted(
        [f"<m{n}@client.test>" for n in range(MESSAGES) if n not in gone] + ["<near@client.test>", "<far@client.test>"]
    )
    assert ids(inbox) == far_ids(server, user) == expected
    with server.imap(user) as box:
        box.select("INBOX", readonly=True)
        assert len(box.search(None, "FLAGGED")[1][0].split()) == 20
    state = sorted(path.name for path in (inbox / "cur").iterdir())
    run(*sync, timeout=120)
    assert sorted(path.name for path in (inbox / "cur").iterdir()) == state
    assert far_ids(server, user) == expected


def catcher(folder):
    """A program that keeps each message that it is given."""
    (folder / "take").write_text(f"#!/bin/sh\ncat >> {folder}/got; echo >> {folder}/got\n")
    (folder / "take").chmod(0o755)


@pytest.mark.peer("getmail")
@pytest.mark.parametrize("kind", ["IMAP", "POP3"])
def test_getmail(server, run, tmp_path, filled, kind):
    """Its other side is LMTP into another of our mailboxes: the ways that start a program may wait for one that has ended already."""
    keeper, user = filled(0), filled(FEW)
    (tmp_path / ".getmail").mkdir()
    extra = 'mailboxes = ("INBOX",)' if kind == "IMAP" else ""
    text = GETMAIL.format(
        kind=kind,
        host=HOST,
        port=server.ports[kind.lower()],
        user=user,
        password=PASSWORD,
        lmtp=server.ports["lmtp"],
        keeper=keeper,
        extra=extra,
    )
    (tmp_path / ".getmail/getmailrc").write_text(text)
    for _ in range(2):  # the second time everything is known
        run("getmail", "-g", str(tmp_path / ".getmail"), timeout=120)
        assert far_ids(server, keeper) == sorted(f"<m{n}@client.test>" for n in range(FEW))


@pytest.mark.peer("fetchmail")
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_fetchmail_takes_everything_away(server, run, tmp_path, filled, protocol):
    user = filled(FEW)
    catcher(tmp_path)
    rc = tmp_path / "rc"
    rc.write_text(
        f'poll {HOST} service {server.ports[protocol]} protocol {protocol} uidl\n user "{user}" password "{PASSWORD}" sslproto ""\n'
        f" mda {tmp_path}/take\n".replace(" uidl" if protocol == "imap" else "\0", "")
    )
    rc.chmod(0o600)
    words = ("fetchmail", "-f", "rc", "--nosyslog", "--pidfile", "pid", "--idfile", "ids", "-s", "--nokeep")
    run(*words, timeout=120)
    text = (tmp_path / "got").read_text()
    assert all(f"<m{n}@client.test>" in text for n in range(FEW))
    run(*words, status=1)  # "no mail"
    assert far_ids_of_nothing(server, user)


def far_ids_of_nothing(server, user):
    with server.imap(user) as box:
        return box.select("INBOX", readonly=True)[1] == [b"0"]


@pytest.mark.peer("neomutt")
def test_neomutt(server, tmp_path, filled):
    user = filled(FEW)
    (tmp_path / "rc").write_text(
        f'set imap_user="{user}"\nset imap_pass="{PASSWORD}"\nset ssl_starttls=no\nset ssl_force_tls=no\nset mbox_type=Maildir\n'
        f'set header_cache="{tmp_path}/cache"\nset imap_qresync=yes\nset imap_condstore=yes\nset quit=yes\nset delete=yes\nset confirmcreate=no\nset sort=mailbox-order\n'
    )
    keys = "push '<first-entry><copy-message>kept<enter><set-flag>!<quit>'"
    url = f"imap://{HOST}:{server.ports['imap']}/INBOX"
    for _ in range(2):  # the second time from its cache
        status, screen = run_on_terminal(
            ["neomutt", "-n", "-F", "rc", "-f", url, "-e", keys], cwd=tmp_path, env={"LC_ALL": "C.UTF-8"}
        )
        assert status == 0, screen[-3000:]
    assert set(ids(tmp_path / "kept")) == {"<m0@client.test>"}
    with server.imap(user) as box:
        box.select("INBOX", readonly=True)
        assert box.search(None, "FLAGGED")[1] == [b"1"]
