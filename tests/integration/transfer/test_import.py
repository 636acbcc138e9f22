"""mta import, mta mailbox export and import: the real commands, before the first start and while the server runs."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import json
import os
import subprocess
import time

import pytest

from mta.testing.server import HOST, PASSWORD, MailServer, wait_until

ALICE, BOB, CAROL, DAVE, FULL = (f"{name}@example.test" for name in ("alice", "bob", "carol", "dave", "full"))
WHEN = 1646125440
MBOX = (
    b"From joe@example.org Tue Mar  1 09:04:00 2022\nMessage-ID: <1@x>\nSubject: one\nStatus: RO\nX-Status: F\nX-Keywords: work\n\n"
    b"first\n>From quoted\nFrom nobody in particular\n\n"
    b"From joe@example.org Tue Mar  1 09:05:00 2022\nMessage-ID: <2@x>\nSubject: two\n\nsecond\n\n"
    b"From joe@example.org Tue Mar  1 09:05:00 2022\nMessage-ID: <2@x>\nSubject: two\n\nsecond\n\n"
    b"From joe@example.org Tue Mar  1 09:06:00 2022\nSubject: no id\n\nthird\n"
)


@pytest.fixture(scope="module")
def server():
    one = MailServer(users=(ALICE, BOB, CAROL, DAVE, FULL), protocols=("imap", "imaps"))
    one.prepare()
    yield one
    one.close()


def run(server, *words, status=0, text=b""):
    done = server.cli(*words, "--json", octets=text, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if status == 0 else done.stderr.decode()


def content(server, user, folder="INBOX"):
    """{Message-ID or octets: (flags, date, octets)} of a mailbox, by IMAP."""
    box = server.imap(user)
    assert box.select(folder, readonly=True)[0] == "OK"
    answer = box.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
    box.logout()
    out = []
    for item in answer:
        if isinstance(item, tuple):
            flags = frozenset(flag.decode() for flag in imaplib.ParseFlags(item[0]) if flag != b"\\Recent")
            out.append((flags, time.mktime(imaplib.Internaldate2tuple(item[0])), item[1]))
    return sorted(out, key=lambda one: (one[1], one[2]))


def test_the_order_of_life(server, tmp_path):
    """mbox before the first start; then running: twice, IDLE, quota, export, and another account over IMAP."""
    file = tmp_path / "alice.mbox"
    file.write_bytes(MBOX)
    first = run(server, "import", "mbox", ALICE, str(file))
    assert (first["added"], first["present"], first["skipped"]) == (4, 0, [])
    server.start()
    again = run(server, "import", "mbox", ALICE, str(file))
    assert (again["added"], again["present"]) == (0, 4)
    taken = content(server, ALICE)
    assert [date for _, date, _ in taken] == [WHEN, WHEN + 60, WHEN + 60, WHEN + 120]
    assert taken[0][0] == {"\\Seen", "\\Flagged", "work"}
    assert taken[0][2] == b"Message-ID: <1@x>\r\nSubject: one\r\n\r\nfirst\r\nFrom quoted\r\nFrom nobody in particular\r\n"
    assert taken[3][2] == b"Subject: no id\r\n\r\nthird\r\n"
    seen_by_idle(server, tmp_path)
    over_quota(server, file)
    exported(server, tmp_path, taken)
    over_imap(server, taken)


def seen_by_idle(server, tmp_path):
    box = server.imap(ALICE)
    box.select("Archive")
    box.send(b"i IDLE\r\n")
    assert box.readline().startswith(b"+")
    mail = tmp_path / "tree"
    mail.mkdir()
    (mail / "Archive.mbox").write_bytes(MBOX[: MBOX.index(b"From joe", 10)])
    assert run(server, "import", "mbox", ALICE, str(mail))["folders"] == 1
    assert box.readline() == b"* 1 EXISTS\r\n"
    box.send(b"DONE\r\n")
    box.shutdown()


def over_quota(server, file):
    server.cli("user", "quota", FULL, "150")
    said = run(server, "import", "mbox", FULL, str(file), status=69)
    assert f"{FULL}: the account is full after 2 messages" in said
    server.cli("user", "quota", FULL, "0")
    rest = run(server, "import", "mbox", FULL, str(file))
    assert (rest["added"], rest["present"]) == (2, 2)


def exported(server, tmp_path, taken):
    run(server, "import", "mbox", ALICE, str(tmp_path / "alice.mbox"), "--folder", "Work/Grüße.2024")
    for form in ("maildir", "mbox"):
        out = tmp_path / f"out-{form}"
        assert run(server, "mailbox", "export", ALICE, str(out), "--format", form)["messages"] == 9
        assert "is not empty" in run(server, "mailbox", "export", ALICE, str(out), status=73)
        into = BOB if form == "maildir" else CAROL
        assert run(server, "mailbox", "import", into, str(out))["added"] == 9
        if form == "mbox":
            again = run(server, "mailbox", "import", into, str(out))
            assert (again["added"], again["present"], again["octets"]) == (0, 9, 0)
        assert content(server, into) == taken
        assert content(server, into, '"Work/Gr&APwA3w-e.2024"') == taken


def over_imap(server, taken):
    url = f"imaps://{HOST}:{server.ports['imaps']}"
    words = ("import", "imap", DAVE, url, "--user", ALICE, "--password-stdin")
    assert "certificate" in run(server, *words, status=69, text=f"{PASSWORD}\n".encode())
    plain = ("import", "imap", DAVE, f"imap://{HOST}:{server.ports['imap']}", "--plaintext", "--user", ALICE, "--password-stdin")
    assert "is the password of" in run(server, *plain, status=69, text=b"wrong\n")
    got = run(server, *plain, "--exclude", "Archive", text=f"{PASSWORD}\n".encode())
    assert (got["added"], got["present"], got["skipped"]) == (8, 0, [])
    certificate = next(path for path in (server.data_dir / "tls").iterdir() if b"CERTIFICATE" in path.read_bytes())
    got = run(server, *words, "--ca-file", str(certificate), text=f"{PASSWORD}\n".encode())
    assert (got["added"], got["present"], got["skipped"]) == (1, 8, [])
    assert content(server, DAVE) == taken
    assert content(server, DAVE, '"Work/Gr&APwA3w-e.2024"') == taken


def test_a_maildir_of_dovecot(server, tmp_path):
    root = tmp_path / "Maildir"
    for folder in ("", ".Sent", ".Lists.a\\2eb"):
        for part in ("cur", "new", "tmp"):
            (root / folder / part).mkdir(parents=True)
    (root / "dovecot-keywords").write_text("0 $Forwarded\n1 later\n")
    (root / "subscriptions").write_text("Lists.a\\2eb\n")
    files = {"cur/1.M1.host:2,FSab": b"A: 1\n\n1\n", "new/2.M2.host": b"A: 2\n\n2\n", ".Sent/cur/3.host:2,RS": b"A: 3\r\n\r\n3\r\n"}
    files |= {".Lists.a\\2eb/cur/4.host:2,T": b"A: 4\n\n4\n", "tmp/5.host": b"A: half"}
    for name, octets in files.items():
        (root / name).write_bytes(octets)
        os.utime(root / name, (WHEN, WHEN))
    if server.process is None:
        server.start()
    before = len(content(server, DAVE))
    assert run(server, "import", "maildir", DAVE, str(root))["added"] == 4
    assert run(server, "import", "maildir", DAVE, str(root))["present"] == 4
    found = content(server, DAVE)
    assert len(found) == before + 2
    assert (frozenset({"\\Seen", "\\Flagged", "$Forwarded", "later"}), WHEN, b"A: 1\r\n\r\n1\r\n") in found
    assert (frozenset(), WHEN, b"A: 2\r\n\r\n2\r\n") in found
    assert content(server, DAVE, "Lists/a.b") == [(frozenset({"\\Deleted"}), WHEN, b"A: 4\r\n\r\n4\r\n")]
    assert (frozenset({"\\Seen", "\\Answered"}), WHEN, b"A: 3\r\n\r\n3\r\n") in content(server, DAVE, "Sent")
    assert "no Maildir" in run(server, "import", "maildir", DAVE, str(tmp_path / "Maildir" / "cur"), status=69)


def test_killed_in_between_and_run_again(server, tmp_path):
    file = tmp_path / "many.mbox"
    one = b"From joe Tue Mar  1 09:04:00 2022\nMessage-ID: <%d@many>\nSubject: many\n\n%b\n\n"
    file.write_bytes(b"".join(one % (n, b"0123456789" * 300) for n in range(1500)))
    if server.process is None:
        server.start()
    process = subprocess.Popen(server.command("import", "mbox", CAROL, str(file), "--folder", "Many"), stderr=subprocess.DEVNULL)

    def some():
        box = server.imap(CAROL)
        answer = box.status("Many", "(MESSAGES)")
        box.logout()
        return process.poll() is not None or (answer[0] == "OK" and b"MESSAGES 0" not in answer[1][0])

    wait_until(some, 20, "some came")
    process.kill()
    process.wait()
    got = run(server, "import", "mbox", CAROL, str(file), "--folder", "Many")
    assert got["added"] + got["present"] == 1500
    assert len(content(server, CAROL, "Many")) == 1500


def test_what_is_no_mbox(server, tmp_path):
    (tmp_path / "x").write_bytes(b"Subject: a message\n\nalone\n")
    assert "no mbox: it does not begin with" in run(server, "import", "mbox", ALICE, str(tmp_path / "x"), status=69)
    assert "no such user" in run(server, "import", "mbox", "nobody@example.test", str(tmp_path / "x"), status=67)
    assert "imaps://" in run(server, "import", "imap", ALICE, "http://x", "--password-stdin", status=64, text=b"x\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_what_root_imports_the_servers_account_reads(tmp_path):
    file = tmp_path / "large.mbox"
    file.write_bytes(b"From joe Tue Mar  1 09:04:00 2022\nSubject: large\n\n" + b"0123456789\n" * 40_000)
    one = MailServer({"user": "daemon", "workers": 1}, users=(ALICE,), protocols=("imap",))
    one.directory.chmod(0o755)
    with one:
        assert run(one, "import", "mbox", ALICE, str(file))["added"] == 1
        assert len(content(one, ALICE)[0][2]) > 480_000
