"""Certificates by the name a client asks for: from the config, and from a plugin that takes its time; at every TLS door."""

import imaplib
import poplib
import smtplib
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509

from mta.net.tls import Pair, make_self_signed
from mta.testing.server import HOST, MailServer

HOOK = """
import asyncio
from mta_hooks import TlsCertificate, hookimpl

@hookimpl
async def tls_certificate(session, server_name, ctx):
    ctx.log.info("asked", protocol=session.protocol, name=server_name, client=session.client_ip)
    if server_name == "broken.test":
        return TlsCertificate("no certificate", "no key")
    if server_name.endswith("dynamic.test"):
        await asyncio.sleep(0.3)
        folder = ctx.config["folder"]
        return TlsCertificate(open(folder + "/dynamic.pem").read(), open(folder + "/dynamic.key").read())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    pairs = {}
    for name, host in {"one": "one.test", "many": "*.many.test", "dynamic": "dynamic.test"}.items():
        pairs[name] = Pair(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))
        make_self_signed(pairs[name], host)
        folder.joinpath(f"{name}.key").chmod(0o644)
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "certificates.py").write_text(HOOK)
    (hooks / "certificates.yaml").write_text(f"config: {{folder: {folder}}}\n")
    for file in hooks.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)
    config = {
        "hooks_dir": str(hooks),
        "tls": {"certificates": [pairs[name]._asdict() for name in ("one", "many")]},
        "workers": 1,
    }
    with MailServer(config, protocols=("smtp", "submissions", "imap", "imaps", "pop3", "pop3s")) as one:
        yield one


@pytest.fixture
def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def named(sock):
    certificate = x509.load_der_x509_certificate(sock.getpeercert(True))
    return certificate.subject.rfc4514_string().removeprefix("CN=")


def connect(server, door, context, name):
    """The certificate's name, and a word from the server behind the handshake."""
    port = server.ports[door]
    if door.endswith("s"):
        with context.wrap_socket(socket.create_connection((HOST, port), 5), server_hostname=name) as sock:
            return named(sock), sock.recv(100)
    if door == "smtp":
        with smtplib.SMTP(HOST, port) as client:
            client._host = name  # what smtplib asks for
            client.starttls(context=context)
            return named(client.sock), client.ehlo()[1]
    if door == "imap":
        with imaplib.IMAP4(HOST, port) as client:
            client.host = name
            client.starttls(context)
            return named(client.sock), client.noop()[1][0]
    client = poplib.POP3(HOST, port)
    client.host = name
    client.stls(context)
    return named(client.sock), client.quit()


DOORS = ("smtp", "submissions", "imap", "imaps", "pop3", "pop3s")


@pytest.mark.parametrize("door", DOORS)
def test_each_name_has_its_certificate(server, context, door):
    for name, wanted in {
        "one.test": "one.test",
        "a.many.test": "*.many.test",
        "a.b.many.test": "mx.example.test",
        "other.test": "mx.example.test",
        "dynamic.test": "dynamic.test",
        "broken.test": "mx.example.test",
    }.items():
        shown, said = connect(server, door, context, name)
        assert shown == wanted, name
        assert said
    protocol = door.removesuffix("s")
    assert f"protocol={protocol} name=dynamic.test client=127.0.0.1" in server.log
    assert "tls.certificate_refused worker=0 name=broken.test" in server.log


def test_nobody_waits_for_a_slow_plugin(server, context):
    begin = time.monotonic()
    slow = [threading.Thread(target=connect, args=(server, "imaps", context, "x.dynamic.test")) for _ in range(3)]
    for thread in slow:
        thread.start()
    took = []
    for _ in range(5):
        start = time.monotonic()
        connect(server, "smtp", context, "one.test")
        took.append(time.monotonic() - start)
    for thread in slow:
        thread.join()
    assert min(took) < 0.3
    assert time.monotonic() - begin < 5
