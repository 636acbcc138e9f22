"""Other people's SCRAM: mbsync with Cyrus SASL, mutt with GNU SASL."""
# SPDX-License-Identifier: Apache-2.0

import subprocess

import pytest

from mta.testing.server import HOST, PASSWORD, MailServer
from mta.testing.terminal import run_on_terminal

ALICE = "alice@example.test"


@pytest.fixture(scope="module")
def server():
    with MailServer({"plugins": {"sql": {}, "scram": {}}}, protocols=("imap",)) as running:
        with running.imap(ALICE) as box:
            for n in range(3):
                box.append("INBOX", None, None, f"Message-ID: <{n}@example.test>\r\nSubject: {n}\r\n\r\n{n}\r\n".encode())
        yield running


def scram_logins(server: MailServer) -> int:
    return server.log_now.count("auth.ok")


@pytest.mark.peer("mbsync")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_mbsync(server: MailServer, tmp_path, mechanism: str) -> None:
    (tmp_path / "rc").write_text(
        f"IMAPAccount ours\nHost {HOST}\nPort {server.ports['imap']}\nUser {ALICE}\nPass {PASSWORD}\nSSLType None\nAuthMechs {mechanism}\n\n"
        f"IMAPStore far\nAccount ours\n\nMaildirStore near\nPath {tmp_path}/\nInbox {tmp_path}/INBOX\n\n"
        "Channel all\nFar :far:\nNear :near:\nCreate Near\nSyncState *\n"
    )
    done = subprocess.run(["mbsync", "-c", str(tmp_path / "rc"), "-a"], capture_output=True, timeout=60, check=False)
    if b"not available" in done.stderr or b"No worthy mechs" in done.stderr:
        pytest.skip("its SASL library has no SCRAM: apt install libsasl2-modules")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "INBOX").glob("*/*:2,*"))) + len(list((tmp_path / "INBOX" / "new").iterdir())) >= 3


@pytest.mark.peer("mutt")
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_mutt(server: MailServer, tmp_path, mechanism: str) -> None:
    """Saves every message of the inbox into a local file."""
    (tmp_path / "rc").write_text(
        f"set imap_user={ALICE}\nset imap_pass={PASSWORD}\nset imap_authenticators={mechanism.lower()}\nset ssl_starttls=no\n"
        "set ssl_force_tls=no\nset mbox_type=mbox\nset confirmappend=no\nset confirmcreate=no\nset copy=no\nset mail_check=60\n"
        f"set folder={tmp_path}\nset spoolfile=imap://{HOST}:{server.ports['imap']}/INBOX\n"
        f'push "<tag-pattern>~A<enter><tag-prefix><copy-message>{tmp_path}/saved<enter><exit><exit>"\n'
    )
    before = scram_logins(server)
    status, screen = run_on_terminal(["mutt", "-n", "-F", f"{tmp_path}/rc"], cwd=tmp_path, env={})
    assert status == 0, screen[-3000:]
    assert (tmp_path / "saved").exists(), screen[-3000:]
    assert (tmp_path / "saved").read_bytes().count(b"\nSubject: ") == 3
    assert scram_logins(server) > before
