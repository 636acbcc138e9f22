"""mta app-password: passwords of their own for programs, over every protocol of the running server."""
# SPDX-License-Identifier: Apache-2.0

import base64
import imaplib
import json
import poplib
import smtplib

import pytest

from mta.testing.scram import ScramClient
from mta.testing.server import HOST, PASSWORD, MailServer, untrusting

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture(scope="module")
def server():
    with MailServer({"plugins": {"sql": {}, "scram": {}}}, protocols=("submission", "imap", "imaps", "pop3")) as running:
        yield running


def run(server, *words, status=0):
    done = server.cli("app-password", *words, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode() if status == 0 else done.stderr.decode()


def by_imap(server, password):
    client = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    try:
        return client.login(ALICE, password)[0] == "OK"
    except imaplib.IMAP4.error:
        return False
    finally:
        client.shutdown()


def by_scram(server, password):
    client = imaplib.IMAP4_SSL(HOST, server.ports["imaps"], ssl_context=untrusting(), timeout=15)
    scram = ScramClient("sha256", ALICE, password)
    try:
        return client.authenticate("SCRAM-SHA-256", scram.step)[0] == "OK" and scram.verified
    except imaplib.IMAP4.error:
        return False
    finally:
        client.shutdown()


def by_pop3(server, password):
    client = poplib.POP3(HOST, server.ports["pop3"], timeout=15)
    try:
        client.user(ALICE)
        client.pass_(password)
    except poplib.error_proto:
        return False
    finally:
        client.close()
    return True


def by_smtp(server, password):
    client = smtplib.SMTP(HOST, server.ports["submission"], timeout=15)
    client.ehlo()
    code, _ = client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{ALICE}\0{password}".encode()).decode())
    client.close()
    return code == 235


def test_every_protocol_takes_any_of_them_until_revoked(server):
    phone = run(server, "add", ALICE, "phone").strip()
    reader = json.loads(run(server, "add", ALICE, "reader", "--service", "imap", "--json"))["password"]
    assert "already" in run(server, "add", ALICE, "phone", status=73)
    for log_in in (by_imap, by_pop3, by_smtp, by_scram):
        assert log_in(server, phone), log_in
        assert log_in(server, PASSWORD), log_in
        assert log_in(server, reader) is (log_in in (by_imap, by_scram)), log_in
    assert by_imap(server, phone.replace("-", "").upper())
    assert not by_imap(server, phone[:-1] + ("a" if phone[-1] != "a" else "b"))
    rows = {row["name"]: row for row in json.loads(run(server, "list", ALICE, "--json"))}
    assert rows["reader"]["services"] == ["imap"]
    assert rows["phone"]["used"] >= rows["phone"]["made"]
    assert phone not in json.dumps(rows)
    assert "app_password=phone" in server.log_now
    assert phone not in server.log_now
    run(server, "revoke", ALICE, "phone")
    for log_in in (by_imap, by_pop3, by_smtp, by_scram):
        assert not log_in(server, phone), log_in
    assert by_imap(server, reader)
    assert "no app password" in run(server, "revoke", ALICE, "phone", status=67)


def test_the_accounts_own_password_changes_beside_them(server):
    run(server, "revoke", ALICE, "--all")
    program = run(server, "add", ALICE, "program").strip()
    server.cli("user", "passwd", ALICE, "--password-stdin", octets=b"another-one\n")
    for password, right in ((program, True), ("another-one", True), (PASSWORD, False)):
        assert by_scram(server, password) is right
        assert by_imap(server, password) is right
    assert json.loads(run(server, "list", BOB, "--json")) == []
    assert "no such user" in run(server, "list", "nobody@example.test", status=67)
    assert "NAME, or --all" in run(server, "revoke", ALICE, status=64)
