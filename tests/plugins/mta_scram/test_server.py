"""The real daemon with the plugin: one login by SCRAM over every protocol, with and without channel binding."""
# SPDX-License-Identifier: Apache-2.0

import base64
import imaplib
import poplib
import smtplib
import ssl

import pytest

from mta.testing.scram import ScramClient
from mta.testing.server import HOST, PASSWORD, MailServer

ALICE = "alice@example.test"


def context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        made.maximum_version = version
    return made


def imap(server: MailServer, name: str, client: ScramClient, tls: ssl.SSLContext) -> list[bytes]:
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    box.starttls(tls)
    box.capability()
    try:
        return _authenticated(box, name, client)
    finally:
        box.shutdown()


def _authenticated(box: imaplib.IMAP4, name: str, client: ScramClient) -> list[bytes]:
    said = [client.step(None)]

    def respond(challenge: bytes) -> bytes:
        return client.step(challenge) if challenge else said[0]

    return [str(box.authenticate(name, respond)).encode()]


@pytest.fixture(scope="module")
def server():
    config = {
        "plugins": {"sql": {}, "scram": {}},
        "auth": {"plaintext_without_tls": False, "failure_delay": 0.05, "end_point_binding": True},
    }
    with MailServer(config, protocols=("submission", "imap", "pop3")) as running:
        yield running


@pytest.mark.parametrize(("name", "hash"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-1", "sha1")])
def test_one_login_over_each_protocol(server: MailServer, name: str, hash: str) -> None:
    client = ScramClient(hash, ALICE, PASSWORD)
    imap(server, name, client, context())
    assert client.verified

    client = ScramClient(hash, ALICE, PASSWORD)
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=15) as smtp:
        smtp.starttls(context=context())
        smtp.ehlo()
        assert name in smtp.esmtp_features["auth"].split()
        code, _ = smtp.auth(name, lambda challenge=None: client.step(challenge).decode())
        assert (code, client.verified) == (235, True)

    client = ScramClient(hash, ALICE, PASSWORD)
    pop = poplib.POP3(HOST, server.ports["pop3"], timeout=15)
    pop.stls(context())
    assert name in pop.capa()["SASL"]
    line = pop._shortcmd(f"AUTH {name} {base64.b64encode(client.step(None)).decode()}")  # type: ignore[attr-defined]
    while line.startswith(b"+ "):
        line = pop._shortcmd(base64.b64encode(client.step(base64.b64decode(line[2:]))).decode())  # type: ignore[attr-defined]
    assert line.startswith(b"+OK")
    assert client.verified
    pop.quit()


@pytest.mark.parametrize(
    ("kind", "version"), [("tls-unique", ssl.TLSVersion.TLSv1_2), ("tls-server-end-point", ssl.TLSVersion.TLSv1_3)]
)
def test_channel_binding(server: MailServer, kind: str, version: ssl.TLSVersion) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    def bound(data_of_another_channel: bytes = b"") -> tuple[str, ScramClient]:
        box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
        box.starttls(context(version))
        sock = box.socket()
        assert isinstance(sock, ssl.SSLSocket)
        if kind == "tls-unique":
            data = sock.get_channel_binding("tls-unique") or b""
        else:
            data = x509.load_der_x509_certificate(sock.getpeercert(True) or b"").fingerprint(hashes.SHA256())
        client = ScramClient("sha256", ALICE, PASSWORD, binding=(kind, data_of_another_channel or data))
        try:
            return box.authenticate("SCRAM-SHA-256-PLUS", lambda challenge: client.step(challenge or None))[0], client
        except imaplib.IMAP4.error as exc:
            return str(exc), client
        finally:
            box.shutdown()

    said, client = bound()
    assert (said, client.verified) == ("OK", True)
    said, client = bound(b"x" * 32)
    assert "bindings do not match" in said


def test_nobody_sees_who_is_there(server: MailServer) -> None:
    """A name that does not exist gets a salt, the same each time, and the answer of a wrong password."""
    heard, salts = set(), []
    for name, password in ((ALICE, "wrong"), ("nobody@example.test", PASSWORD), ("nobody@example.test", PASSWORD)):
        client = ScramClient("sha256", name, password)
        with pytest.raises(imaplib.IMAP4.error) as refused:
            imap(server, "SCRAM-SHA-256", client, context())
        heard.add(str(refused.value))
        salts.append(dict(part.split(b"=", 1) for part in client.challenges[0].split(b","))[b"s"])
    assert len(heard) == 1
    assert salts[1] == salts[2]
    assert len(salts[0]) == len(salts[1])
    assert "SCRAM-SHA-256" not in server.log  # no message of an exchange


def test_a_hidden_binding_is_noticed_and_old_accounts_are_told_nothing(server: MailServer) -> None:
    with pytest.raises(imaplib.IMAP4.error):
        imap(server, "SCRAM-SHA-256", ScramClient("sha256", ALICE, PASSWORD, pretends=True), context())
    server.wait_for_log("channel binding was hidden")


def test_without_tls_there_is_nothing(server: MailServer) -> None:
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    assert not [c for c in box.capabilities if c.startswith("AUTH=")]
    with pytest.raises(imaplib.IMAP4.error, match="STARTTLS"):
        _authenticated(box, "SCRAM-SHA-256", ScramClient("sha256", ALICE, PASSWORD))
    box.shutdown()
