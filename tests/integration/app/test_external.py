"""EXTERNAL on the real daemon: a client certificate logs in over every protocol, and nothing else gets by it."""
# SPDX-License-Identifier: Apache-2.0

import base64
import imaplib
import poplib
import shutil
import smtplib
import ssl
from pathlib import Path

import pytest
import trustme

from mta.testing.server import HOST, MailServer

EXAMPLE = Path(__file__).resolve().parents[3] / "hooks/examples/session_info.py"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("external")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    shutil.copyfile(EXAMPLE, hooks / EXAMPLE.name)
    config = {
        "hooks_dir": str(hooks),
        "tls": {"client_ca": str(folder / "ca.pem")},
        "auth": {"plaintext_without_tls": False, "failure_delay": 0, "external": "email"},
    }
    with MailServer(config, protocols=("submission", "imap", "pop3")) as running:
        yield running


def context(*identity: str, authority: trustme.CA | None = None, common_name: str | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if authority is not None:
        authority.issue_cert(*identity, common_name=common_name).configure_cert(made)
    return made


def imap(server: MailServer, tls: ssl.SSLContext, wanted: str = "") -> tuple[bool, str]:
    """Was EXTERNAL offered, and what came of it."""
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    offered = False
    try:
        box.starttls(tls)
        box.capability()
        offered = "AUTH=EXTERNAL" in box.capabilities
        return offered, str(box.authenticate("EXTERNAL", lambda _: wanted.encode())[0])
    except (imaplib.IMAP4.error, OSError) as exc:
        return offered, str(exc)
    finally:
        box.shutdown()


def test_a_certificate_logs_in_over_each_protocol(server: MailServer, authority: trustme.CA) -> None:
    tls = context("alice@example.test", authority=authority)
    assert imap(server, tls) == (True, "OK")
    assert imap(server, tls, "Alice@example.test") == (True, "OK")
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=15) as smtp:
        smtp.starttls(context=tls)
        smtp.ehlo()
        assert "EXTERNAL" in smtp.esmtp_features["auth"].split()
        assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 235
    pop = poplib.POP3(HOST, server.ports["pop3"], timeout=15)
    pop.stls(tls)
    assert pop.capa()["SASL"][0] == "EXTERNAL"
    words = base64.b64encode(b"alice@example.test").decode()
    assert pop._shortcmd(f"AUTH EXTERNAL {words}").startswith(b"+OK")  # type: ignore[attr-defined]
    pop.quit()


def test_whom_a_certificate_does_not_let_in(server: MailServer, authority: trustme.CA) -> None:
    offered, said = imap(server, context())
    assert not offered
    assert "not known" in said
    wrong = "name or password wrong"
    assert wrong in imap(server, context("nobody@example.test", authority=authority))[1]
    assert wrong in imap(server, context("alice@example.test", authority=authority), "bob@example.test")[1]
    assert wrong in imap(server, context("alice@example.test", "bob@example.test", authority=authority))[1]
    assert imap(server, context("alice@example.test", "bob@example.test", authority=authority), "bob@example.test")[1] == "OK"
    assert wrong in imap(server, context("mx.example.test", authority=authority, common_name="alice@example.test"))[1]


def test_a_foreign_certificate_ends_the_handshake(server: MailServer) -> None:
    offered, said = imap(server, context("alice@example.test", authority=trustme.CA()))
    assert not offered
    assert said != "OK"


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    server = MailServer({"tls": {"client_ca": str(tmp_path / "ca.pem")}}, users=(), directory=tmp_path)
    server.write_config()
    done = server.cli("serve", check=False, timeout=30)
    assert done.returncode == 78
    assert b"tls.client_ca" in done.stderr


def test_a_drop_in_brings_a_command_to_each_protocol(server: MailServer) -> None:
    """hooks/examples/session_info.py."""
    box = imaplib.IMAP4(HOST, server.ports["imap"], timeout=15)
    box.starttls(context())
    box.capability()
    assert "XSESSION" in box.capabilities
    imaplib.Commands["XSESSION"] = ("NONAUTH",)
    assert box.xatom("XSESSION")[0] == "OK"
    assert b"client=127.0.0.1 tls=yes user=-" in box.response("XSESSION")[1][0]
    box.shutdown()
    with smtplib.SMTP(HOST, server.ports["submission"], timeout=15) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("XSESSION")
        assert b"client=127.0.0.1 tls=no" in smtp.docmd("XSESSION")[1]
    pop = poplib.POP3(HOST, server.ports["pop3"], timeout=15)
    assert "XSES" in pop.capa()
    assert b"client=127.0.0.1" in pop._shortcmd("XSES")  # type: ignore[attr-defined]
    pop.quit()
