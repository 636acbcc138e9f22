"""The real daemon with the plugin: curl and the standard library log in with tokens over every protocol."""
# SPDX-License-Identifier: Apache-2.0

import base64
import json
import socket
import subprocess

import pytest

from mta.testing.server import HOST, MailServer

ALICE = "alice@example.test"


@pytest.fixture(scope="module")
def server(issuer):
    config = {
        "plugins": {"sql": {}, "oauth": {"issuer": issuer.url, "audience": ["mail"]}},
        "auth": {"plaintext_without_tls": True, "failure_delay": 0},
    }
    with MailServer(config, protocols=("submission", "imap", "pop3")) as running:
        yield running


class Link:
    def __init__(self, server: MailServer, protocol: str) -> None:
        self.sock = socket.create_connection((HOST, server.ports[protocol]), timeout=15)
        self.lines = self.sock.makefile("rb")
        self.lines.readline()

    def say(self, line: str) -> str:
        self.sock.sendall(line.encode() + b"\r\n")
        return self.lines.readline().decode().rstrip()

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.sock.close()


def bearer(token: str, user: str = ALICE) -> str:
    return base64.b64encode(f"n,a={user},\x01host=mx.example.test\x01port=143\x01auth=Bearer {token}\x01\x01".encode()).decode()


def xoauth2(token: str, user: str = ALICE) -> str:
    return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()


def test_both_mechanisms_over_imap(server: MailServer, issuer) -> None:
    for mechanism, response in (("OAUTHBEARER", bearer), ("XOAUTH2", xoauth2)):
        with Link(server, "imap") as link:
            assert link.say(f"a AUTHENTICATE {mechanism} {response(issuer.token())}").startswith("a OK")
        with Link(server, "imap") as link:
            assert link.say(f"a AUTHENTICATE {mechanism}").rstrip() == "+"
            assert link.say(response(issuer.token("ES256"))).startswith("a OK")


def test_failures_are_told_in_json_and_then_answered_like_all_others(server: MailServer, issuer) -> None:
    for mechanism, response in (("OAUTHBEARER", bearer), ("XOAUTH2", xoauth2)):
        for token, user in ((issuer.token(exp=1), ALICE), (issuer.token(), "bob@example.test"), (issuer.token() + "x", ALICE)):
            with Link(server, "imap") as link:
                said = json.loads(base64.b64decode(link.say(f"a AUTHENTICATE {mechanism} {response(token, user)}")[2:]))
                assert said["status"] in ("invalid_token", "401")
                assert link.say("AQ==") == "a NO [AUTHENTICATIONFAILED] name or password wrong"
                if mechanism == "OAUTHBEARER":
                    assert said["openid-configuration"] == f"{issuer.url}/.well-known/openid-configuration"
            # another account's failures do not slow this test: it has its own server
    with Link(server, "imap") as link:
        assert link.say(
            f"a AUTHENTICATE OAUTHBEARER {bearer(issuer.token(email='nobody@example.test'), 'nobody@example.test')}"
        ) == ("a NO [AUTHENTICATIONFAILED] name or password wrong")
        assert link.say("b AUTHENTICATE OAUTHBEARER " + base64.b64encode(b"p=x,,\x01\x01").decode()).startswith("b BAD")
    assert "expired" in server.log
    assert issuer.token()[:20] not in server.log


@pytest.mark.peer("curl")
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_curl(server: MailServer, issuer, tmp_path, mechanism: str, protocol: str) -> None:
    words = [
        "--silent",
        "--show-error",
        "--max-time",
        "15",
        "--user",
        ALICE,
        "--oauth2-bearer",
        issuer.token(),
        "--login-options",
        f"AUTH={mechanism}",
    ]
    if protocol == "smtp":
        (tmp_path / "mail").write_bytes(b"From: alice@example.test\r\nSubject: x\r\n\r\nx\r\n")
        url = f"smtp://{HOST}:{server.ports['submission']}/client.test"
        words += ["--mail-from", ALICE, "--mail-rcpt", "bob@example.test", "--upload-file", str(tmp_path / "mail")]
    else:
        url = f"{protocol}://{HOST}:{server.ports[protocol]}/"
    done = subprocess.run(["curl", *words, url], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
