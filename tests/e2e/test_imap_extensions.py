"""Programs and libraries that ask for what IMAP was extended by: compressed connections, object ids, previews, REPLACE, CATENATE."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import os
import re
import uuid
import zlib

import pytest
from imapclient import IMAPClient

from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, untrusting
from mta.testing.terminal import run_on_terminal

MESSAGES = 40


@pytest.fixture
def user(server):
    """An account of its own for each test, with some messages."""
    address = f"u{uuid.uuid4().hex[:12]}@example.test"
    server.cli("user", "add", address, "--password-stdin", octets=PASSWORD.encode() + b"\n")
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    box.login(address, PASSWORD)
    for n in range(MESSAGES):
        assert box.append("INBOX", None, None, compose(f"<{n}@client.test>", address))[0] == "OK"
    box.logout()
    return address


class Compressed(imaplib.IMAP4_SSL):
    """RFC 4978 over TLS, as clients do it."""

    inflate = None

    def compress(self):
        imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")
        assert self._simple_command("COMPRESS", "DEFLATE")[0] == "OK"
        self.inflate, self.deflate, self.plain = zlib.decompressobj(-15), zlib.compressobj(9, zlib.DEFLATED, -15), b""
        self.octets_in = 0

    def _more(self):
        packed = self.sock.recv(65536)
        assert packed
        self.octets_in += len(packed)
        self.plain += self.inflate.decompress(packed)

    def read(self, size):
        if self.inflate is None:
            return super().read(size)
        while len(self.plain) < size:
            self._more()
        octets, self.plain = self.plain[:size], self.plain[size:]
        return octets

    def readline(self):
        if self.inflate is None:
            return super().readline()
        while b"\n" not in self.plain:
            self._more()
        return self.read(self.plain.index(b"\n") + 1)

    def send(self, data):
        super().send(data if self.inflate is None else self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH))


def test_a_session_under_tls_and_compression(server, user):
    box = Compressed(HOST, server.ports["imaps"], ssl_context=untrusting(), timeout=15)
    box.login(user, PASSWORD)
    assert "COMPRESS=DEFLATE" in box.capability()[1][0].decode().split()
    box.compress()
    assert box.select("INBOX")[1] == [b"%d" % MESSAGES]
    got = [part[1] for part in box.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    assert len(got) == MESSAGES
    assert box.octets_in < sum(map(len, got)) / 3
    octets = b"Subject: large\r\n\r\n" + os.urandom(2 * 2**20).hex().encode() + b"\r\n"
    assert box.append("Sent", None, None, octets)[0] == "OK"
    box.select("Sent")
    assert box.fetch("1", "(BODY.PEEK[])")[1][0][1] == octets
    assert box.logout()[0] == "BYE"


@pytest.mark.peer("mbsync")
def test_mbsync_compressed(server, run, user, tmp_path):
    (tmp_path / "rc").write_text(
        f"IMAPAccount ours\nHost {HOST}\nPort {server.ports['imap']}\nUser {user}\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n"
        f"IMAPStore far\nAccount ours\n\nMaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\n\n"
        "Channel all\nFar :far:\nNear :near:\nCreate Near\nSyncState *\n"
    )
    (tmp_path / "mail").mkdir()
    said = run("mbsync", "-c", "rc", "-Dn", "all").stdout
    assert re.search(r"COMPRESS DEFLATE", said)
    assert (
        len(list((tmp_path / "mail" / "INBOX").glob("*/*:2,*")) + list((tmp_path / "mail" / "INBOX" / "new").iterdir())) >= MESSAGES
    )
    again = run("mbsync", "-c", "rc", "-Dn", "all").stdout
    assert "BODY.PEEK[]" not in again


@pytest.mark.peer("mutt")
def test_mutt_compressed_and_resynchronised(server, user, tmp_path):
    """mutt draws a screen, so it gets one."""
    (tmp_path / "rc").write_text(
        f'set imap_user="{user}"\nset imap_pass="{PASSWORD}"\nset folder="imap://{HOST}:{server.ports["imap"]}"\nset spoolfile="+INBOX"\n'
        "set ssl_starttls=no\nset ssl_force_tls=no\nset imap_deflate=yes\nset imap_condstore=yes\nset imap_qresync=yes\nset confirmappend=no\nset confirmcreate=no\n"
        f'set header_cache="{tmp_path}/cache"\nset mail_check=1\nset move=no\nset wait_key=no\n'
    )
    (tmp_path / "cache").mkdir()
    # All are tagged and copied into a file, then mutt leaves.
    keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{tmp_path}/box<enter><exit>"
    for _ in range(2):
        (tmp_path / "box").unlink(missing_ok=True)
        words = ["mutt", "-n", "-F", "rc", "-d", "3", "-e", f"push '{keys}'"]
        status, screen = run_on_terminal(words, cwd=tmp_path, env={"LC_ALL": "C.UTF-8"})
        assert status == 0, screen[-3000:]
        assert (tmp_path / "box").read_bytes().count(b"\nMessage-ID: <") == MESSAGES
    told = "".join(path.read_text(errors="replace") for path in tmp_path.glob(".muttdebug*"))
    assert "COMPRESS DEFLATE" in told
    assert "QRESYNC" in told


def test_imapclient_asks_for_new_things(server, user):
    with IMAPClient(HOST, port=server.ports["imap"], ssl=False, timeout=15) as box:
        box.login(user, PASSWORD)
        for name in (
            "OBJECTID",
            "SAVEDATE",
            "PREVIEW",
            "REPLACE",
            "CATENATE",
            "URLAUTH",
            "MULTISEARCH",
            "CONTEXT=SEARCH",
            "UIDBATCHES",
        ):
            assert box.has_capability(name), name
        box.select_folder("INBOX")
        first = box.fetch([1], ["EMAILID", "THREADID", "SAVEDATE", "PREVIEW"])[1]
        assert first[b"EMAILID"][0].startswith(b"M")
        assert first[b"THREADID"][0].startswith(b"T")
        assert first[b"PREVIEW"]
        box.copy([1], "Archive")
        box.select_folder("Archive")
        assert box.fetch([1], ["EMAILID"])[1][b"EMAILID"] == first[b"EMAILID"]
        assert box.search(["EMAILID", first[b"EMAILID"][0].decode()]) == [1]
