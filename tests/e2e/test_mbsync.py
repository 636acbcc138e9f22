"""Two-way synchronization with a Maildir by mbsync (isync): the client that trusts UIDs most."""
# SPDX-License-Identifier: Apache-2.0

import re
import time

import pytest

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD

ALICE = "alice@example.test"
MESSAGES = 300

CONFIG = """
IMAPAccount ours
Host {host}
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs {mechanism}
Timeout 30

IMAPStore far
Account ours

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove None
Expunge Both
SyncState *
CopyArrivalDate yes
"""


def files(folder):
    """Message-ID → (path, flags) of a Maildir."""
    out = {}
    for part in ("cur", "new"):
        for path in (folder / part).iterdir():
            found = re.search(rb"Message-ID: (\S+)", path.read_bytes())
            out[found[1].decode()] = (path, path.name.rpartition(":2,")[2] if ":2," in path.name else "")
    return out


def fetch_flags(box):
    """Message-ID → set of flags of INBOX."""
    box.select("INBOX", readonly=True)
    out = {}
    answer = box.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
    for index, item in enumerate(answer):
        if isinstance(item, tuple):
            tail = answer[index + 1] if index + 1 < len(answer) and isinstance(answer[index + 1], bytes) else b""
            flags = re.search(rb"FLAGS \(([^)]*)\)", item[0] + tail)[1].split()
            out[re.search(rb"<[^>]*>", item[1])[0].decode()] = {f.decode() for f in flags} - {"\\Recent"}
    return out


@pytest.mark.peer("mbsync")
@pytest.mark.parametrize("mechanism", ["LOGIN"])
def test_two_way(server, run, tmp_path, mechanism):
    with server.smtp() as client:
        for n in range(MESSAGES):
            client.sendmail("x@client.test", [ALICE], compose(f"<m{n}@client.test>", ALICE, size=400 + n * 10))
    (tmp_path / "mail").mkdir()
    config = CONFIG.format(host=HOST, port=server.ports["imap"], user=ALICE, password=PASSWORD, home=tmp_path, mechanism=mechanism)
    (tmp_path / "rc").write_text(config)
    sync = ("mbsync", "-c", "rc", "-a", "-q")

    begin = time.monotonic()
    run(*sync)
    print(f"mbsync: {MESSAGES} messages in {time.monotonic() - begin:.2f} s")
    inbox = tmp_path / "mail/INBOX"
    near = files(inbox)
    assert near.keys() == {f"<m{n}@client.test>" for n in range(MESSAGES)}
    assert {p.name for p in (tmp_path / "mail").iterdir()} >= {"INBOX", "Drafts", "Sent", "Trash"}

    # near: flag 0-9, delete 10-19, a new one; far: flag 20-29, delete 30-39, a new one
    for n in range(10):
        path, _ = near[f"<m{n}@client.test>"]
        path.rename(inbox / "cur" / (path.name.partition(":")[0] + ":2,FS"))
    for n in range(10, 20):
        near[f"<m{n}@client.test>"][0].unlink()
    (inbox / "new" / "1700000000.1.local").write_bytes(compose("<near@client.test>", ALICE).replace(b"\r\n", b"\n"))
    with server.imap(ALICE) as box:
        box.select("INBOX")
        box.uid("STORE", "21:30", "+FLAGS.SILENT", r"(\Answered)")
        box.uid("STORE", "31:40", "+FLAGS.SILENT", r"(\Deleted)")
        box.expunge()
        box.append("INBOX", r"(\Draft)", None, compose("<far@client.test>", ALICE))
        box.create("Projects/2026")
    run(*sync)

    near = files(inbox)
    with server.imap(ALICE) as box:
        far = fetch_flags(box)
    assert near.keys() == far.keys()
    gone = {f"<m{n}@client.test>" for n in range(10, 20)} | {f"<m{n}@client.test>" for n in range(30, 40)}
    assert near.keys() == ({f"<m{n}@client.test>" for n in range(MESSAGES)} - gone) | {"<near@client.test>", "<far@client.test>"}
    assert all(far[f"<m{n}@client.test>"] == {"\\Flagged", "\\Seen"} for n in range(10))
    assert all(near[f"<m{n}@client.test>"][1] == "R" for n in range(20, 30))
    assert near["<far@client.test>"][1] == "D"
    assert (tmp_path / "mail/Projects/2026").is_dir()

    state = (sorted(files(inbox).items()), far)
    run(*sync)
    with server.imap(ALICE) as box:
        assert (sorted(files(inbox).items()), fetch_flags(box)) == state
