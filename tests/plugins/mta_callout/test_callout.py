"""Callout against servers over real sockets: what each answer means, what is remembered, what is never asked."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.directory import Domain
from mta.testing.plugins import FakeDns, FakeKeys, FakeSession, FakeTransaction, host_with
from mta_callout import Callout
from mta_callout.dialogue import judge

RELAY = {"far.org": Domain("far.org", "relay"), "ours.org": Domain("ours.org")}


class Server:
    """Answers RCPT with each of ``replies`` in turn; ``commands`` is what it was told."""

    def __init__(self, *replies: str, greeting: str = "220 hello", mail: str = "250 ok", stall: bool = False) -> None:
        self.replies, self.greeting, self.mail, self.stall = list(replies), greeting, mail, stall
        self.commands: list[str] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(f"{self.greeting}\r\n".encode())
        while line := await reader.readline():
            self.commands.append(line.decode().strip())
            verb = self.commands[-1].split()[0].upper()
            if self.stall and verb == "RCPT":
                await asyncio.sleep(30)
            answer = {
                "EHLO": "250-me\r\n250 SIZE",
                "MAIL": self.mail,
                "RCPT": (self.replies or ["250 ok"])[0],
                "QUIT": "221 bye",
            }.get(verb, "250 ok")
            if verb == "RCPT" and len(self.replies) > 1:
                self.replies.pop(0)
            writer.write(f"{answer}\r\n".encode())
            if verb == "QUIT":
                break
        writer.close()


def run(server: Server, body: Callable[[Any], Any], keys: FakeKeys | None = None, **config: Any) -> None:
    async def whole() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]

        async def hop(_sender: Any, _recipient: Any) -> Route:
            return Route("smtp", "127.0.0.1", port, tls="none")

        async def domain(name: str) -> Domain | None:
            return RELAY.get(name)

        host = host_with(Callout(), config=config, kv=keys or FakeKeys(), dns=FakeDns())
        host.services.domain, host.services.next_hop = domain, hop

        async def ask(address: str, **session: Any) -> Any:
            assert host.smtp_rcpt is not None
            decision = await host.smtp_rcpt.verdict(
                session=FakeSession(**session), transaction=FakeTransaction(), recipient=Address.parse(address), params={}
            )
            return decision.verdict

        ask.host = host  # type: ignore[attr-defined]
        await body(ask)
        listening.close()

    asyncio.run(whole())


def test_there_and_not_there_are_remembered() -> None:
    server = Server("250 ok", "550 5.1.1 no such user", "250 never asked")

    async def body(ask: Any) -> None:
        for _ in range(2):
            assert await ask("ann@far.org") is None
        for _ in range(2):
            verdict = await ask("bob@far.org")
            assert (verdict.code, verdict.enhanced) == (550, "5.1.1")
            assert "no such user" in verdict.text

    run(server, body)
    assert server.connections == 2
    assert server.commands[:3] == ["EHLO mx.example.test", "MAIL FROM:<>", "RCPT TO:<ann@far.org>"]
    assert "DATA" not in server.commands


def test_who_is_not_asked_for() -> None:
    server = Server("550 no")

    async def body(ask: Any) -> None:
        assert await ask("a@ours.org") is None
        assert await ask("a@elsewhere.org") is None
        assert await ask("a@far.org", user="x@ours.org") is None
        assert await ask("j\u00f6rg@far.org") is None

    run(server, body)
    assert server.connections == 0


def test_domains_by_table() -> None:
    async def body(ask: Any) -> None:
        assert (await ask("a@sub.elsewhere.org")).code == 550
        assert await ask("a@far.org") is None

    run(Server("550 no"), body, domains={".elsewhere.org": "x"})


@pytest.mark.parametrize(
    "server",
    [
        Server("450 later"),
        Server("554 5.7.1 we do not like you"),
        Server(greeting="554 no"),
        Server(mail="530 TLS first"),
        Server(greeting="what"),
    ],
)
def test_no_answer_defers(server: Server) -> None:
    async def body(ask: Any) -> None:
        verdict = await ask("a@far.org")
        assert (verdict.code, verdict.enhanced) == (450, "4.1.1")
        assert "like you" not in verdict.text

    keys = FakeKeys()
    run(server, body, keys)
    assert keys.rows == {}, "not remembered"


def test_no_answer_may_be_accepted_and_time_is_bounded() -> None:
    async def body(ask: Any) -> None:
        assert await ask("a@far.org") is None

    run(Server(stall=True), body, unknown="accept", timeout=1.0)


def test_one_question_for_one_address_and_few_at_a_time() -> None:
    server = Server("250 ok")

    async def body(ask: Any) -> None:
        said = await asyncio.gather(*(ask("a@far.org") for _ in range(5)))
        assert said == [None] * 5
        several = await asyncio.gather(*(ask(f"u{n}@far.org") for n in range(4)))
        assert sum(verdict is not None for verdict in several) == 2

    run(server, body, connections=2)
    assert server.commands.count("RCPT TO:<a@far.org>") == 1


def test_senders_only_when_told() -> None:
    async def body(ask: Any) -> None:
        host = ask.host
        decision = await host.smtp_mail.verdict(
            session=FakeSession(), transaction=FakeTransaction(), sender=Address("x", "stranger.org"), params={}
        )
        assert decision.verdict is None

    run(Server("550 no"), body)


@pytest.mark.parametrize(
    ("code", "text", "there"),
    [
        (250, "ok", True), (251, "will forward", True), (550, "no", False), (550, "5.1.1 no", False), (553, "bad", False), (550, "5.7.1 policy", None),
        (552, "5.2.2 full", True), (550, "5.2.1 disabled", False), (554, "no", None), (451, "4.1.1 wait", None), (552, "full", None),
    ],
)  # fmt: skip
def test_what_replies_mean(code: int, text: str, there: bool | None) -> None:
    assert judge(code, text).there is there
