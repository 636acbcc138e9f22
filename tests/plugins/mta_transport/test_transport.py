"""Transport tables: values as Postfix writes them, keys in its order, refusals at RCPT and in the queue, relays by sender."""

import asyncio
from typing import Any

import pytest

from mta.model.address import Address
from mta.testing.plugins import FakeDns, FakeMessage, FakeSession, FakeTransaction, RecordingLog, host_with
from mta_hooks import Attempt, Envelope, Route
from mta_transport import Transport
from mta_transport.value import BadTransport, Hop, Refusal, read_relay, read_transport


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("smtp:[mx.example.org]", Hop(Route("smtp", "mx.example.org"), "[mx.example.org]")),
        ("smtp:[192.0.2.1]:2525", Hop(Route("smtp", "192.0.2.1", 2525), "[192.0.2.1]:2525")),
        ("relay:[2001:db8::1]:25", Hop(Route("smtp", "2001:db8::1", 25), "[2001:db8::1]:25")),
        ("smtp:Example.NET:submission", Hop(Route("smtp", "example.net", 587, mx=True), "example.net:submission")),
        (":[gw]", Hop(Route("smtp", "gw"), "[gw]")),
        (":", Hop(Route("smtp"))),
        ("smtp:", Hop(Route("smtp"))),
        ("lmtp:unix:/run/lmtp", Hop(Route("lmtp", path="/run/lmtp", tls="none"))),
        ("lmtp:inet:mail:24", Hop(Route("lmtp", "mail", 24), "mail:24")),
        ("lmtp+unix:/run/lmtp", Hop(Route("lmtp", path="/run/lmtp", tls="none"))),
        (
            "smtps://mail.example.org:465",
            Hop(Route("smtp", "mail.example.org", 465, tls="implicit"), "[mail.example.org]:465"),
        ),
        ("local:", Hop(Route("local"))),
        ("pipe:archive", Hop(Route("pipe", path="archive", tls="none"))),
        ("dovecot:", Hop(Route("lmtp", path="/run/d", tls="none"))),
        ("slow:example.net", Hop(Route("smtp", "example.net", mx=True), "example.net")),
        ("error:5.1.1 nobody here", Refusal("error", "5.1.1", "nobody here")),
        ("error:gone", Refusal("error", "5.0.0", "gone")),
        ("retry:4.2.1 later", Refusal("retry", "4.2.1", "later")),
        ("retry:5.2.1 later", Refusal("retry", "4.0.0", "later")),
        ("discard:", Refusal("discard")),
    ],
)
def test_values(value: str, made: Hop | Refusal) -> None:
    assert read_transport(value, {"dovecot": "lmtp:unix:/run/d", "slow": "smtp:"}) == made


@pytest.mark.parametrize(
    "value", ["nothing", "odd:x", "smtp:[open", "smtp:h:99999", "lmtp:unix:relative", "pipe:/bin/sh -c x", "smtp:[]:25", "smtp:a b"]
)
def test_mistakes(value: str) -> None:
    with pytest.raises(BadTransport):
        read_transport(value, {})
    with pytest.raises(BadTransport):
        read_relay("")


def route(recipient: str, sender: str | None = "bob@example.org", dns: Any = None, **config: Any) -> Route | None:
    host = host_with(Transport(), config=config, dns=dns or FakeDns())
    assert host.route is not None
    found: Route | None = asyncio.run(
        host.route.first(sender=None if sender is None else Address.parse(sender), recipient=Address.parse(recipient))
    )
    return found


def test_keys_in_order() -> None:
    table = {"ann@far.org": "smtp:[a]", "far.org": "smtp:[b]", ".far.org": "smtp:[c]", "*": "smtp:[d]"}
    assert [
        getattr(route(one, recipients=table), "host", None) for one in ("Ann+x@far.org", "b@far.org", "b@x.y.far.org", "b@z.org")
    ] == ["a", "b", "c", "d"]
    del table["*"]
    assert route("b@z.org", recipients=table) is None


def test_by_sender() -> None:
    config: dict[str, Any] = {
        "recipients": {"far.org": "smtp:[b]"},
        "senders": {"@news.org": "smtp:[n]", "<>": "smtp:[null]"},
        "sender_relays": {"bob@example.org": "[r]:587", "@out.org": "DUNNO"},
    }
    assert getattr(route("x@far.org", "a@news.org", **config), "host", None) == "b"
    assert getattr(route("x@z.org", "a@news.org", **config), "host", None) == "n"
    assert getattr(route("x@z.org", None, **config), "host", None) == "null"
    assert getattr(route("x@z.org", "Bob@example.org", **config), "port", None) == 587
    assert route("x@z.org", "a@out.org", **config) is None


def test_passwords() -> None:
    config: dict[str, Any] = {
        "recipients": {"far.org": "smtp:[b]:587", "next.org": "smtp:[c]"},
        "passwords": {"ann@example.org": "ann:one", "[b]:587": "us:t:wo", "c": "c:three"},
    }
    found = route("x@far.org", **config)
    assert found is not None
    assert (found.credentials, found.tls) == (("us", "t:wo"), "encrypt")
    assert "wo" not in repr(found)
    assert route("x@far.org", "ann@example.org", **config).credentials == ("ann", "one")  # type: ignore[union-attr]
    assert route("x@next.org", **config, auth_tls="may").credentials == ("c", "three")  # type: ignore[union-attr]


def test_a_domain_as_next_hop_means_its_mail_servers() -> None:
    """All of them; who is asked in which order is for the delivery."""
    assert route("x@far.org", recipients={"far.org": "smtp:near.org"}) == Route("smtp", "near.org", mx=True)
    assert route("x@far.org", recipients={"far.org": "smtp:[near.org]:26"}) == Route("smtp", "near.org", 26)
    assert route("x@far.org", sender_relays={"bob@example.org": "near.org:587"}) == Route("smtp", "near.org", 587, mx=True)


def test_refusals() -> None:
    table = {"gone.org": "error:5.1.10 closed", "slow.org": "retry:wait", "hole.org": "discard:", "bad.org": "nonsense"}
    log = RecordingLog()
    host = host_with(Transport(), config={"recipients": table}, log=log)

    async def run() -> None:
        assert host.smtp_rcpt is not None
        assert host.delivery_attempt is not None
        assert host.queue_enqueue is not None
        for domain, said in (("gone.org", (550, "5.1.10")), ("slow.org", (450, "4.0.0")), ("hole.org", (0, ""))):
            verdict = (
                await host.smtp_rcpt.verdict(
                    session=FakeSession(), transaction=FakeTransaction(), recipient=Address("a", domain), params={}
                )
            ).verdict
            assert (verdict.code, verdict.enhanced) == said
        verdict = (
            await host.smtp_rcpt.verdict(
                session=FakeSession(), transaction=FakeTransaction(), recipient=Address("a", "bad.org"), params={}
            )
        ).verdict
        assert 400 <= verdict.code < 500
        envelope = Envelope("q", None, (Address("a", "hole.org"), Address("b", "far.org")), "smtp", 0.0, 0)
        (left,) = await host.queue_enqueue.pipeline("envelopes", message=FakeMessage(), envelopes=[envelope])
        assert left.recipients == (Address("b", "far.org"),)
        gone = Envelope("q", None, (Address("a", "gone.org"), Address("b", "gone.org")), "smtp", 0.0, 0)
        decision = await host.delivery_attempt.verdict(envelope=gone, attempt=Attempt(1, "gone.org", "smtp"))
        assert decision.verdict.code == 550

    asyncio.run(run())
    assert log.named("transport.value_refused")[0]["key"] == "bad.org"
