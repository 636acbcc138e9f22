"""Access tables: what each action answers, which keys are asked in which order, what is asked once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.errors import ConfigError
from mta.testing.plugins import FakeDns, FakeMessage, FakeSession, FakeTransaction, RecordingLog, host_with
from mta_access import Access
from mta_access.actions import BadAction, read_action
from mta_hooks import AddHeader, AddRecipient
from mta_hooks.services import DnsError


def ask(config: dict[str, Any], recipient: str = "bob@example.org", *, session: FakeSession | None = None, transaction: FakeTransaction | None = None, **given: Any) -> Any:  # fmt: skip
    host = host_with(Access(), config=config, **given)
    assert host.smtp_rcpt is not None
    decision = asyncio.run(
        host.smtp_rcpt.verdict(
            session=session or FakeSession(),
            transaction=transaction or FakeTransaction(sender=Address("alice", "example.com")),
            recipient=Address.parse(recipient),
            params={},
        )
    )
    return None if decision.verdict is None else decision.verdict


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("REJECT", (554, "5.7.1", "<k>: Sender address rejected: access denied")),
        ("reject go away", (554, "5.7.1", "go away")),
        ("REJECT 5.1.8 unknown", (554, "5.1.8", "unknown")),
        ("550 no", (550, "5.7.1", "no")),
        ("550 5.1.1 no", (550, "5.1.1", "no")),
        ("450 4.2.0 later", (450, "4.2.0", "later")),
        ("421 4.7.0 bye", (421, "4.7.0", "bye")),
        ("550", (550, "5.7.1", "<k>: Sender address rejected: access denied")),
        ("DEFER", (450, "4.7.1", "<k>: Sender address rejected: access denied")),
        ("DEFER_IF_PERMIT slow", (450, "4.7.1", "slow")),
        ("550 4.1.1 wrong class", (550, "5.7.1", "wrong class")),
        ("REJECT caf\u00e9\x00", (554, "5.7.1", "caf ")),
    ],
)
def test_refusals(value: str, said: tuple[int, str, str]) -> None:
    verdict = read_action(value, "<k>: Sender address rejected").verdict
    assert verdict is not None
    assert (verdict.code, verdict.enhanced, verdict.text) == said
    assert verdict.hang_up is (verdict.code == 421)


def test_other_actions() -> None:
    assert read_action("OK", "x").kind == read_action("1", "x").kind == read_action("RELAY", "x").kind == "ok"
    assert read_action("DUNNO", "x").kind == "dunno"
    assert str(read_action("DISCARD quiet", "x").verdict.action) == "discard"  # type: ignore[union-attr]
    assert str(read_action("HOLD", "x").verdict.action) == "hold"  # type: ignore[union-attr]
    assert read_action("REDIRECT c@d.org", "x").verdict.target == ("c@d.org",)  # type: ignore[union-attr]
    assert read_action("BCC c@d.org", "x").edit == AddRecipient(Address("c", "d.org"))
    assert read_action("PREPEND X-A: b c", "x").edit == AddHeader("X-A", "b c")
    for wrong in ("FILTER smtp:x", "permit_mynetworks", "REDIRECT nobody", "PREPEND nothing"):
        with pytest.raises(BadAction):
            read_action(wrong, "x")


def test_order_and_keys(tmp_path: Path) -> None:
    (tmp_path / "nets").write_text("192.0.2.0/24 REJECT by network\n")
    assert ask({"client": f"cidr:{tmp_path}/nets", "recipient": {"bob@example.org": "OK"}}).text == "by network"
    assert ask({"client": {"192.0": "450 by octets"}}).text == "by octets"
    assert ask({"helo": {".example.org": "REJECT helo"}}).text == "helo"
    assert ask({"sender": {"example.com": "REJECT domain", "alice@example.com": "OK"}}) is None
    assert ask({"sender": {"alice@": "REJECT name"}}).text == "name"
    assert ask({"sender": {"<>": "REJECT null"}}, transaction=FakeTransaction()).text == "null"
    assert ask({"recipient": {"bob@example.org": "REJECT base"}}, "Bob+x@Example.Org").text == "base"
    both = {"sender": {"example.com": "REJECT sender"}, "recipient": {"example.org": "REJECT recipient"}}
    assert ask(both).text == "sender"
    assert ask({**both, "order": ["recipient", "sender"]}).text == "recipient"
    assert ask({**both, "order": []}) is None


def test_who_is_not_asked() -> None:
    refuse = {"client": "static:REJECT"}
    assert ask(refuse).code == 554
    assert ask(refuse, session=FakeSession(user="alice@example.org")) is None
    assert ask({**refuse, "users": True}, session=FakeSession(user="alice@example.org")).code == 554


def test_names_have_to_lead_back() -> None:
    records = {("ptr", "192.0.2.1"): ["Mail.Bad.Test."], ("a", "mail.bad.test"): ["192.0.2.1"]}
    config = {"client_name": {".bad.test": "REJECT name"}}
    assert ask(config, dns=FakeDns(records)).text == "name"
    assert ask(config, dns=FakeDns({**records, ("a", "mail.bad.test"): ["192.0.2.9"]})) is None
    assert ask(config, dns=FakeDns({("ptr", "192.0.2.1"): DnsError("no")})) is None


def test_edits_are_made_and_mistakes_defer() -> None:
    log = RecordingLog()
    host = host_with(Access(), config={"sender": {"example.com": "PREPEND X-Seen: yes", "bad.org": "FILTER x"}, "recipient": {"bob@example.org": "BCC a@b.org", "ann@example.org": "WARN odd"}}, log=log)  # fmt: skip
    assert host.smtp_rcpt is not None
    assert host.message_modify is not None

    async def run() -> None:
        transaction = FakeTransaction(sender=Address("alice", "example.com"))
        for name in ("bob", "ann", "bob"):
            await host.smtp_rcpt.verdict(
                session=FakeSession(), transaction=transaction, recipient=Address(name, "example.org"), params={}
            )  # type: ignore[union-attr]
        message = FakeMessage()
        message.notes = transaction.notes
        said = await host.message_modify.all(message=message, recipients=[])  # type: ignore[union-attr]
        assert [answer for _, answer in said] == [AddHeader("X-Seen", "yes"), AddRecipient(Address("a", "b.org"))]
        wrong = FakeTransaction(sender=Address("x", "bad.org"))
        decision = await host.smtp_rcpt.verdict(
            session=FakeSession(), transaction=wrong, recipient=Address("b", "c.org"), params={}
        )  # type: ignore[union-attr]
        assert (decision.verdict.code, decision.verdict.enhanced) == (451, "4.3.5")

    asyncio.run(run())
    assert log.named("access.warn")[0]["key"] == "ann@example.org"
    assert "FILTER" in str(log.named("access.action_unknown")[0]["reason"])


def test_a_missing_file_is_named_at_the_start() -> None:
    plugin = Access()
    host = host_with(plugin, config={"sender": "hash:/nowhere/map"})
    with pytest.raises(ConfigError, match=r"/nowhere/map: plugins\.\w+\.sender: No such file"):
        asyncio.run(plugin.startup(next(iter(host.plugins.values())).context))
