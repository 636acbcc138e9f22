"""Signed mail that leaves is verified by OpenDKIM; OpenDKIM's and dkimpy's signatures are verified by us."""
# SPDX-License-Identifier: Apache-2.0

import base64
import email
import email.policy
import uuid

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mta.testing.dns import DnsServer
from mta.testing.peers import OpenDkim, Postfix
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
DEST = "x@dest.test"


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def record(key):
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
    return " ".join(f'"{text[n : n + 200]}"' for n in range(0, len(text), 200))


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def names(key):
    zones = {"s1._domainkey.example.test": {"TXT": [record(key)]}, "o1._domainkey.sender.test": {"TXT": [record(key)]}}
    with DnsServer(zones).thread() as server:
        yield server


@pytest.fixture(scope="module")
def server(key, names, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dkim")
    (folder / "s1.pem").write_bytes(pem(key))
    config = {
        "dns": {"servers": [names.address]},
        "routes": {"dest.test": f"smtp://{HOST}:{free_port()}"},
        "plugins": {"sql": {}, "dkim": {"selector": "s1", "key": str(folder / "s1.pem"), "domains": {"example.test": {}}}},
    }
    with MailServer(config) as running:
        yield running


LETTERS = {
    "plain": ("", "hello\r\n"),
    "empty body": ("", ""),
    "trailing blank lines": ("", "text  \r\n\r\n\r\n\r\n"),
    "dots and eight bits": ("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n", ".\r\n..\r\nGrüße\t \r\n"),
    "folded fields": ("X-Long: one\r\n\ttwo\r\n  three\r\n", "x\r\n"),
    "several of a field": ("Cc: <c1@dest.test>\r\nReply-To: <r@example.test>\r\nComments: a\r\nComments: b\r\n", "x\r\n"),
}
LETTERS["large"] = ("", ("0123456789 " * 6 + "\r\n") * 20_000)


@pytest.mark.peer("opendkim", "postfix")
def test_our_signatures_verify_with_opendkim(server, names):
    port = int(server.config["routes"]["dest.test"].rpartition(":")[2])
    with OpenDkim(names.address) as milter, Postfix(("dest.test",), port=port, milter=milter.port) as peer:
        for name, (fields, body) in LETTERS.items():
            head = f"From: Bob <{BOB}>\r\nTo: <{DEST}>\r\nSubject: {name}\r\nMessage-ID: <{uuid.uuid4().hex}@client.test>\r\n"
            with server.smtp(BOB) as client:
                client.sendmail(BOB, [DEST], f"{head}{fields}\r\n{body}".encode(), ["BODY=8BITMIME"])
        server.sendmail("-t", "-f", BOB, octets=f"From: {BOB}\nTo: {DEST}\nSubject: by sendmail\n\nlocal\n".encode())
        arrived = peer.wait(DEST, len(LETTERS) + 1, timeout=30)
    verdicts = {m["Subject"]: m["Authentication-Results"] for m in arrived}
    assert verdicts.keys() == LETTERS.keys() | {"by sendmail"}
    for name, verdict in verdicts.items():
        assert "dkim=pass" in verdict, f"{name}: {verdict}"
        assert "header.d=example.test" in verdict
    signature = arrived[0]["DKIM-Signature"].replace(" ", "")
    assert ";l=" not in signature
    assert "a=rsa-sha256" in signature


@pytest.mark.parametrize(("change", "result"), [(b"", "pass"), (b"forged", "fail")])
def test_signatures_of_others_are_verified(server, key, change, result):
    message_id = f"<{uuid.uuid4().hex}@sender.test>"
    head = f"From: <a@sender.test>\r\nTo: <{ALICE}>\r\nSubject: signed\r\nMessage-ID: {message_id}\r\n"
    forged = f"Authentication-Results: mx.example.test; dkim=pass header.d=bank.test\r\n{head}".encode()
    signature = dkim.sign(forged + b"\r\nhello\r\n", b"o1", b"sender.test", pem(key), include_headers=[b"from", b"to", b"subject"])
    with server.smtp() as client:
        client.sendmail("a@sender.test", [ALICE], signature + forged + b"\r\nhello\r\n" + change + (b"\r\n" if change else b""))
    found = []

    def there():
        with server.imap(ALICE) as box:
            box.select("INBOX", readonly=True)
            numbers = box.search(None, "HEADER", "Message-ID", message_id)[1][0].split()
            found.extend(box.fetch(number.decode(), "(BODY.PEEK[HEADER])")[1][0][1] for number in numbers)
        return found

    wait_until(there, 5, "the message")
    headers = email.message_from_bytes(found[0], policy=email.policy.default)
    results = headers.get_all("Authentication-Results")
    ours = [r for r in results if r.startswith("mx.example.test")]
    assert len(ours) == 1, results
    assert f"dkim={result}" in ours[0]
    assert "header.d=sender.test" in ours[0]
    assert "bank.test" not in "".join(results)
