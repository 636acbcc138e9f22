"""Each example of hooks/examples, loaded as a user would: copied into the folder. The ticket example speaks to a real endpoint."""

import asyncio
import hashlib
import hmac
import json
import shutil
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, DeliveryRecord, Failed
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.model.message import Flags, Placement
from mta.model.reply import Reply
from mta.model.verdict import Action
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.durable import payload_of
from mta.pluginhost.http import HttpClient
from mta.testing.plugins import FakeHttp, FakeMessage, FakeSession, host_with
from mta_hooks import ImapReply
from mta_hooks.capabilities import Pop3Reply

EXAMPLES = Path(__file__).resolve().parents[3] / "hooks/examples"
BOB = Address("bob", "example.org")
SUPPORT = Address("support", "example.org")


def drop_in(tmp_path, name, settings=None, **services):
    tmp_path.chmod(0o755)
    for suffix in (".py", ".yaml"):
        if (EXAMPLES / f"{name}{suffix}").exists():
            shutil.copy(EXAMPLES / f"{name}{suffix}", tmp_path)
            (tmp_path / f"{name}{suffix}").chmod(0o644)
    if settings is not None:
        (tmp_path / f"{name}.yaml").write_text(json.dumps(settings))
        (tmp_path / f"{name}.yaml").chmod(0o644)
    host = host_with(**services)
    DropIns(host, str(tmp_path)).scan()
    assert host.failed == {}
    return host


def test_every_example_is_documented_and_ships_loadable(tmp_path) -> None:
    examples = sorted(EXAMPLES.glob("*.py"))
    assert len(examples) >= 4
    for example in examples:
        folder = tmp_path / example.stem
        folder.mkdir()
        host = drop_in(folder, example.stem)
        assert example.stem in host.plugins
        assert len(host.plugins[example.stem].object.__doc__) > 150
        assert len(example.read_text().splitlines()) < 60


class Tickets:
    """An HTTP endpoint on a loopback port: keeps each request, answers with ``status``."""

    def __init__(self, status=201) -> None:
        self.status = status
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((line, headers, body))
        writer.write(b"HTTP/1.1 %d Whatever\r\nLocation: /t/7\r\nContent-Length: 2\r\n\r\nok" % self.status)
        await writer.drain()
        writer.close()


def deliver(host, recipient=SUPPORT, message=None):
    return host.deliver.first(recipient=recipient, sender=None, message=message or FakeMessage(b"Subject: help\r\n\r\nme\r\n"))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (201, Delivered("ticket /t/7")),
        (503, Deferred("ticket system said 503")),
        (404, Failed("ticket system refuses it with 404")),
    ],
)
def test_ticket_goes_to_a_real_endpoint(tmp_path, status, answer) -> None:
    tickets = Tickets(status)

    async def main():
        server = await asyncio.start_server(tickets.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = {"config": {"url": f"http://127.0.0.1:{port}/tickets?queue=a"}, "when": {"recipient": "support@*"}}
        host = drop_in(tmp_path, "ticket", settings, http=HttpClient())
        async with server:
            assert not host.deliver_wants(BOB)
            assert await deliver(host, BOB) is None
            return await deliver(host)

    assert asyncio.run(main()) == answer
    ((line, headers, body),) = tickets.requests
    assert line == "POST /tickets?queue=a HTTP/1.1"
    assert headers["content-type"] == "message/rfc822"
    assert headers["message-id"] == "q1"
    assert body == b"Subject: help\r\n\r\nme\r\n"


def test_a_ticket_system_that_is_down_defers(tmp_path) -> None:
    host = drop_in(tmp_path, "ticket", http=FakeHttp(ConnectionRefusedError("no")))
    with pytest.raises(TemporaryFailure):
        asyncio.run(deliver(host))


def place(host, octets, placement=None):
    message = FakeMessage(octets)
    return asyncio.run(
        host.mailbox_deliver.pipeline("placement", user="b", recipient=BOB, message=message, placement=placement or Placement())
    )


def test_lists_are_filed(tmp_path) -> None:
    host = drop_in(tmp_path, "file_by_list_id")
    listed = b"List-Id: Python developers <python-dev.python.org>\r\n\r\nx"
    assert place(host, listed) == Placement("Lists/python-dev")
    assert place(host, b"Subject: x\r\n\r\nx") == Placement()
    assert place(host, listed, Placement("Junk")) == Placement("Junk")
    assert place(host, b"List-Id: <../../etc.passwd>\r\n\r\n") == Placement()


def test_lists_are_filed_elsewhere_and_read(tmp_path) -> None:
    host = drop_in(tmp_path, "file_by_list_id", {"config": {"folder": "News", "read": True}})
    assert place(host, b"List-Id: <a.b>\r\n\r\n") == Placement("News/a", flags=Flags.SEEN)


def test_the_web_hook_is_signed_and_repeated(tmp_path) -> None:
    http = FakeHttp(200, 500)
    host = drop_in(tmp_path, "notify_webhook", {"config": {"url": "http://w/", "secret": "s"}}, http=http)
    record = DeliveryRecord(QueueId("q"), "<m@x>", "smtp", "", "bob@example.org", None, "delivered", "ok", "", 1, 1.5, 2.5, 10)
    asyncio.run(host.call_durable("delivered", payload_of(record)))
    (request,) = http.requests
    assert json.loads(request.data)["recipient"] == "bob@example.org"
    assert json.loads(request.data)["sender"] == ""
    assert request.headers["x-signature"] == hmac.new(b"s", request.data, hashlib.sha256).hexdigest()
    [error] = asyncio.run(host.call_durable("delivered", payload_of(record))).values()
    assert "answered 500" in error


def test_the_gatekeeper(tmp_path) -> None:
    config = {"refuse": ["*@spam.example"], "internal": ["staff@example.org"], "forward": {"old@example.org": "new@example.com"}}
    host = drop_in(tmp_path, "gatekeeper", {"config": config})

    def mail(sender):
        return asyncio.run(host.smtp_mail.verdict(session=FakeSession(), transaction=None, sender=sender, params={})).verdict

    def rcpt(address, user=""):
        session = FakeSession(user=user)
        recipient = Address.parse(address)
        return asyncio.run(host.smtp_rcpt.verdict(session=session, transaction=None, recipient=recipient, params={})).verdict

    assert mail(Address("x", "spam.example")).action is Action.REJECT
    assert mail(None) is None
    assert mail(BOB) is None
    assert rcpt("Staff@example.org").code == 550
    assert rcpt("staff@example.org", user="bob@example.org") is None
    assert rcpt("old@example.org").target == ("new@example.com",)
    assert rcpt("bob@example.org") is None


def offered(host, protocol, verb, session, arguments):
    return asyncio.run(host.offering.commands[protocol, verb].call(session=session, arguments=arguments))


def test_session_info_over_each_protocol(tmp_path) -> None:
    host = drop_in(tmp_path, "session_info")
    session = FakeSession(client_ip="192.0.2.7")
    seen = f"id={session.id} client=192.0.2.7 tls=no user=-"
    assert offered(host, "imap", "XSESSION", session, []) == ImapReply(lines=[f"XSESSION {seen}"])
    assert offered(host, "imap", "XSESSION", session, ["x"]).status == "BAD"
    assert offered(host, "smtp", "XSESSION", session, "") == Reply(250, "2.0.0", seen)
    assert offered(host, "pop3", "XSES", session, "") == Pop3Reply(seen)
    assert list(host.offering.advertised("imap", logged_in=False)) == ["XSESSION"]


def test_no_soliciting(tmp_path) -> None:
    host = drop_in(tmp_path, "no_soliciting", {"config": {"refused": ["net.example:ADV"]}})
    assert list(host.offering.advertised("smtp", logged_in=False)) == ["NO-SOLICITING"]
    check = host.offering.mail["SOLICIT"]
    assert check("net.example:ADV,org.example:ADV:ADLT") is None
    assert [bool(check(wrong)) for wrong in (None, "", "ADV", "net.example:ADV,", "a b:c")] == [True] * 5

    async def verdict(hook, **arguments):
        return (await getattr(host, hook).verdict(session=None, transaction=None, **arguments)).verdict

    async def main():
        assert await verdict("smtp_mail", sender=None, params={}) is None
        assert await verdict("smtp_mail", sender=None, params={"SOLICIT": "org.example:ADV"}) is None
        refused = await verdict("smtp_mail", sender=None, params={"SOLICIT": "org.example:ADV,NET.example:ADV"})
        assert (refused.action, refused.code, refused.enhanced) == (Action.REJECT, 550, "5.7.1")
        assert await verdict("message_headers", headers=[("Subject", "net.example:ADV")]) is None
        assert (await verdict("message_headers", headers=[("Solicitation", "net.example:ADV")])).code == 550

    asyncio.run(main())


def test_hide_submitters(tmp_path) -> None:
    host = drop_in(tmp_path, "hide_submitters")
    [write] = host.offering.received
    field = "from [10.1.2.3] ([192.0.2.7]) by mx.example.org with ESMTPSA id 1 for <a@b.test>; Tue, 24 Nov 2026 08:00:00 +0000"

    def written(**session):
        return asyncio.run(write(session=FakeSession(**session), transaction=None, field=field))

    assert written(user="") is None
    assert written(user="bob@example.org") == "by mx.example.org with ESMTPSA id 1 for <a@b.test>; Tue, 24 Nov 2026 08:00:00 +0000"
