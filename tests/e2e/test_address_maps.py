"""The real daemon with tables for everything: access, aliases, rewriting, next hops, checks, SRS and VERP, as one operator has them."""

import re
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.testing.peers import SmtpSink
from mta.testing.server import DOMAIN, HOST, MailServer, free_port, wait_until

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
HEAD = f"From: bob@origin.example\r\nTo: {ALICE}\r\nMessage-ID: <%s@origin.example>\r\nSubject: %s\r\n\r\nhello\r\n"


class Stranger(smtplib.SMTP):
    """Comes from 192.0.2.1, as a load balancer says."""

    def __init__(self, port: int) -> None:
        super().__init__(HOST, port, "mail.origin.example", timeout=15)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.create_connection((host, port), timeout)
        sock.sendall(b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 25\r\n")
        return sock


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MailServer, int, int, Path]]:
    folder = tmp_path_factory.mktemp("maps")
    port, submission, hop = free_port(), free_port(), free_port()
    (folder / "virtual").write_text(f"# as Postfix has it\nforward@{DOMAIN}\n  dave@far.example\nteam@{DOMAIN} {ALICE}, {BOB}\n")
    (folder / "transport").write_text(f"*  smtp:[{HOST}]:{hop}\nclosed.example error:5.1.10 closed for good\n")
    (folder / "sender_access").write_text("spam.example REJECT we know you\n.bad.example 450 4.7.1 later\n")
    (folder / "header_checks").write_text(
        "/^Subject: .*lottery/ REJECT no lottery\n/^Subject: (.*)\\bcopy\\b/ BCC archive@far.example\n"
    )
    config: dict[str, Any] = {
        "listen": [{"url": f"smtp://{HOST}:{port}", "proxy_protocol": ["127.0.0.1"]}, f"submission://{HOST}:{submission}"],
        "workers": 1,
        "queue": {"retry": [1]},
        "tables": {"moved": {f"old@{DOMAIN}": "new@elsewhere.example"}},
        "plugins": {
            "sql": {},
            "access": {"sender": f"hash:{folder}/sender_access"},
            "srs": {},
            "virtual": {"aliases": f"hash:{folder}/virtual", "relocated": ["moved"], "relocated_code": 551},
            "rewrite": {"recipient_canonical": {f"alise@{DOMAIN}": ALICE}, "masquerade": [DOMAIN]},
            "transport": {"recipients": f"hash:{folder}/transport"},
            "checks": {"headers": f"regexp:{folder}/header_checks"},
            "verp": {"senders": {BOB: "yes"}},
        },
    }
    server = MailServer(config, directory=folder, protocols=())
    server.ports = {"submission": submission}
    with server:
        yield server, port, hop, folder


def refusal(port: int, sender: str, recipient: str, subject: str = "hi") -> tuple[int, bytes]:
    with Stranger(port) as client:
        try:
            client.sendmail(sender, [recipient], (HEAD % ("x", subject)).encode())
        except smtplib.SMTPRecipientsRefused as exc:
            [answer] = exc.recipients.values()
            return answer
        except smtplib.SMTPDataError as exc:
            return exc.smtp_code, exc.smtp_error  # type: ignore[return-value]
    return 250, b""


def test_refusals_by_tables(place: tuple[MailServer, int, int, Path]) -> None:
    server, port, _, folder = place
    assert refusal(port, "x@spam.example", ALICE) == (554, b"5.7.1 we know you")
    assert refusal(port, "x@sub.bad.example", ALICE)[0] == 450
    assert refusal(port, "x@fine.example", f"old@{DOMAIN}") == (551, b"5.1.6 user has moved to new@elsewhere.example")
    assert refusal(port, "x@fine.example", ALICE, "the lottery") == (550, b"5.7.1 no lottery")
    assert refusal(port, "x@fine.example", f"alise@{DOMAIN}")[0] == 250
    with (folder / "sender_access").open("a") as file:
        file.write("new.example REJECT since now\n")
    wait_until(lambda: refusal(port, "x@new.example", ALICE)[0] == 554, 5, "the changed table is read", 0.3)
    assert "table.read" in server.log


@pytest.mark.peer("smtp-sink")
def test_a_forward_leaves_with_srs_and_its_bounce_comes_back(place: tuple[MailServer, int, int, Path]) -> None:
    server, port, hop, _ = place
    with SmtpSink(port=hop) as sink:
        assert refusal(port, "bob@origin.example", f"forward@{DOMAIN}", "copy this")[0] == 250
        arrived = sink.wait(1)
        assert {r.split()[0] for m in arrived for r in m.get_all("X-Rcpt-Args")} == {"<dave@far.example>", "<archive@far.example>"}
        path = re.match(r"<(SRS0=[^=]{6}=[A-Z2-7]{2}=origin\.example=bob@mx\.example\.test)>", arrived[0]["X-Mail-Args"])
        assert path is not None, arrived[0]["X-Mail-Args"]
        assert server.cli("srs", "reverse", path[1]).stdout.decode().strip() == "bob@origin.example"
        with Stranger(port) as client:
            client.sendmail("", [path[1]], b"Subject: bounce\r\n\r\nno such user\r\n")
            assert client.mail("")
            assert client.rcpt(path[1].replace("bob@", "eve@"))[0] == 550
        sink.wait(2)
        (back,) = [m for m in sink.messages if m["Subject"] == "bounce"]
        assert back["X-Rcpt-Args"].split()[0] == "<bob@origin.example>"
        assert back["X-Mail-Args"].startswith("<>")


@pytest.mark.peer("smtp-sink")
def test_each_recipient_has_a_return_path(place: tuple[MailServer, int, int, Path]) -> None:
    server, _, hop, _ = place
    with SmtpSink(port=hop) as sink, server.smtp(BOB, protocol="submission") as client:
        client.sendmail(
            BOB,
            ["x@far.example", "y@far.example"],
            f"From: Bob <{BOB}>\r\nTo: Us <us@desk.{DOMAIN}>\r\nSubject: news\r\n\r\nnews\r\n".encode(),
        )
        arrived = sink.wait(2)
        assert {m["X-Mail-Args"].split()[0] for m in arrived} == {f"<bob+{who}=far.example@{DOMAIN}>" for who in "xy"}
        assert {m["To"] for m in arrived} == {f"Us <us@{DOMAIN}>"}, "masqueraded"
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail(BOB, ["z@closed.example"], b"Subject: x\r\n\r\nx\r\n")
        assert refused.value.recipients["z@closed.example"] == (550, b"5.1.10 closed for good")


def test_explain_shows_where_an_address_leads(place: tuple[MailServer, int, int, Path]) -> None:
    server, _, hop, _ = place
    said = server.cli("explain", "--address", f"forward@{DOMAIN}").stdout.decode()
    assert f"forward@{DOMAIN}: alias -> dave@far.example" in said
    assert f"remote: dave@far.example -> {HOST}" in said or str(hop) in said
    said = server.cli("explain", "--from", "x@spam.example", "--to", ALICE, "--client-ip", "192.0.2.1").stdout.decode()
    assert "we know you" in said
