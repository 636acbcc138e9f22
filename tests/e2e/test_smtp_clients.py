"""Programs that send: swaks, curl, mutt, smtplib. Each message is looked for in the mailbox, by IMAP."""
# SPDX-License-Identifier: Apache-2.0

import base64
import email
import email.policy
import smtplib
import uuid

import pytest

from mta.testing.server import HOST, PASSWORD, untrusting, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def received(server, subject, user=ALICE, timeout=5):
    """The one message with this subject, parsed."""
    with server.imap(user) as box:
        found = []

        def there():
            box.select("INBOX", readonly=True)
            found[:] = box.uid("SEARCH", "SUBJECT", subject)[1][0].split()
            return found

        wait_until(there, timeout, f"message {subject}")
        assert len(found) == 1
        octets = box.uid("FETCH", found[0].decode(), "(BODY.PEEK[])")[1][0][1]
    return email.message_from_bytes(octets.replace(b"\r\n", b"\n"), policy=email.policy.default)


@pytest.fixture
def subject():
    return f"s{uuid.uuid4().hex}"


SWAKS = {
    "mx": ("smtp", []),
    "mx over STARTTLS": ("smtp", ["--tls"]),
    "submission PLAIN over STARTTLS": ("submission", ["--tls", "--auth", "PLAIN"]),
    "submission LOGIN over STARTTLS": ("submission", ["--tls", "--auth", "LOGIN"]),
    "submissions PLAIN": ("submissions", ["--tls-on-connect", "--auth", "PLAIN"]),
    "mx pipelined": ("smtp", ["--pipeline"]),
}


@pytest.mark.peer("swaks")
@pytest.mark.parametrize("case", SWAKS)
def test_swaks(server, run, subject, case):
    protocol, options = SWAKS[case]
    if "--auth" in options:
        options = [*options, "--auth-user", BOB, "--auth-password", PASSWORD]
    done = run(
        "swaks", "--server", HOST, "--port", str(server.ports[protocol]), "--from", BOB, "--to", ALICE,
        "--header", f"Subject: {subject}", "--body", "hello\n.\n..two dots\n", *options,
    )  # fmt: skip
    assert "250 2." in done.stdout  # enhanced status codes
    message = received(server, subject)
    assert message["Return-Path"] == f"<{BOB}>"
    assert message.get_content().rstrip() == "hello\n.\n..two dots"
    trace = message["Received"]
    secure = protocol == "submissions" or "--tls" in options
    assert f"ESMTP{'S' if secure else ''}{'A' if '--auth' in options else ''}" in trace.split()  # RFC 3848


@pytest.mark.peer("swaks")
def test_swaks_wrong_password(server, run):
    run(
        "swaks", "--server", HOST, "--port", str(server.ports["submission"]), "--from", BOB, "--to", ALICE,
        "--tls", "--auth", "PLAIN", "--auth-user", BOB, "--auth-password", "wrong", status=28,
    )  # fmt: skip


@pytest.mark.peer("swaks")
def test_swaks_unknown_user_and_relay(server, run):
    port = str(server.ports["smtp"])
    unknown = run("swaks", "--server", HOST, "--port", port, "--from", BOB, "--to", "nobody@example.test", status=24)
    assert "550 5.1.1" in unknown.stdout
    relay = run("swaks", "--server", HOST, "--port", port, "--from", BOB, "--to", "someone@elsewhere.test", status=24)
    assert "550 5.7.1" in relay.stdout


@pytest.mark.peer("curl")
@pytest.mark.parametrize("protocol", ["smtp", "submission", "submissions"])
def test_curl_smtp(server, run, subject, tmp_path, protocol):
    (tmp_path / "message").write_bytes(f"From: {BOB}\r\nTo: {ALICE}\r\nSubject: {subject}\r\n\r\nby curl\r\n".encode())
    scheme = "smtps" if protocol == "submissions" else "smtp"
    words = ["curl", "-sS", "-k", "--url", f"{scheme}://{HOST}:{server.ports[protocol]}/client.test", "-T", "message"]
    words += ["--mail-from", BOB, "--mail-rcpt", ALICE]
    if protocol != "smtp":
        words += ["--ssl-reqd", "--user", f"{BOB}:{PASSWORD}"]
    run(*words)
    assert received(server, subject).get_content() == "by curl\n"


@pytest.mark.peer("mutt")
def test_mutt_batch(server, run, subject, tmp_path):
    user = BOB.replace("@", "%40")
    (tmp_path / "rc").write_text(
        f'set from="{BOB}"\nset use_from=yes\nset realname="Bob"\nset hostname="client.test"\nset copy=no\n'
        f'set smtp_url="smtp://{user}@{HOST}:{server.ports["submission"]}/"\nset smtp_pass="{PASSWORD}"\n'
        'set smtp_authenticators="plain"\nset ssl_starttls=no\nset ssl_force_tls=no\n'
    )
    (tmp_path / "attachment.bin").write_bytes(bytes(range(256)) * 40)
    run("mutt", "-n", "-F", "rc", "-s", subject, "-a", "attachment.bin", "--", ALICE, text="Grüße\n")
    message = received(server, subject)
    assert message.get_body(("plain",)).get_content() == "Grüße\n"
    assert [part.get_content() for part in message.iter_attachments()] == [bytes(range(256)) * 40]


def test_smtplib_large_and_many(server, subject):
    """A message above every buffer (spilled to disk), then twenty on one connection."""
    body = ("x" * 70 + "\r\n") * 40_000  # 2.9 MB
    with server.smtp() as client:
        client.sendmail(BOB, [ALICE], f"Subject: {subject}\r\n\r\n{body}".encode())
        for n in range(20):
            client.sendmail(BOB, [ALICE, BOB], f"Subject: {subject}-{n}\r\n\r\nsmall\r\n".encode())
    assert received(server, subject + "-19", BOB).get_content() == "small\n"
    with server.imap(ALICE) as box:
        box.select("INBOX", readonly=True)
        found = [int(u) for u in box.uid("SEARCH", "LARGER", "2000000")[1][0].split()]
        octets = box.uid("FETCH", str(found[-1]), "(BODY.PEEK[TEXT])")[1][0][1]
    assert octets == body.encode()


def test_smtplib_starttls_then_login(server, subject):
    with smtplib.SMTP(HOST, server.ports["submission"], local_hostname="client.test", timeout=15) as client:
        client.starttls(context=untrusting())
        client.login(BOB, PASSWORD)
        refused = client.sendmail(BOB, [ALICE], f"Subject: {subject}\r\n\r\nsafe\r\n")
    assert refused == {}
    assert received(server, subject).get_content() == "safe\n"


def test_submission_without_login_is_refused(server):
    with server.smtp(protocol="submission") as client:
        code, text = client.mail(BOB)
        if code == 250:
            code, text = client.rcpt(ALICE)
    assert (code, text[:5]) == (530, b"5.7.0")  # RFC 6409 §4.3


def test_no_credential_and_no_content_in_the_log(server):
    """After everything above, at the usual level."""
    assert len(server.log) > 1000
    tokens = (
        PASSWORD,
        "two dots",
        base64.b64encode(f"\0{BOB}\0{PASSWORD}".encode()).decode(),
        base64.b64encode(PASSWORD.encode()).decode(),
    )
    assert [token for token in tokens if token in server.log] == []
