"""Conditions of drop-in hooks, and the records of durable hooks."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from mta.model.address import Address
from mta.model.delivery import DeliveryRecord
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.durable import payload_of, record_of
from mta.pluginhost.specs import SPECS
from mta.pluginhost.when import When
from mta.testing.plugins import FakeMessage, FakeSession, host_with, plugin_of
from mta_hooks import Attempt, Envelope, MailboxEvent, hookimpl, reject

BOB = Address("bob", "example.org")
RECORD = DeliveryRecord(
    QueueId("q"), "<m@x>", "smtp", "", "bob@example.org", None, "delivered", "ok", "", 1, 1.5, 2.5, 10, notes={"a": {"b": 1}}
)
EVENT = MailboxEvent("MessageNew", "bob@example.org", "INBOX", 1.5, (1, 2), ("\\Seen",))


@pytest.mark.parametrize(
    ("conditions", "arguments", "wanted"),
    [
        ({"recipient": "BOB@*"}, {"recipient": BOB}, True),
        ({"recipient": ["x@*", "*@example.org"]}, {"recipient": BOB}, True),
        ({"recipient": "alice@*"}, {"recipient": BOB}, False),
        ({"recipient": "bob@*"}, {"recipients": [SimpleNamespace(address=Address("a", "b")), SimpleNamespace(address=BOB)]}, True),
        ({"sender": ""}, {"sender": None}, True),
        ({"sender": "*@example.org"}, {"message": FakeMessage(sender=BOB)}, True),
        ({"protocol": "submission"}, {"session": FakeSession()}, False),
        ({"protocol": "sm*", "sender": "x"}, {"session": FakeSession(), "sender": None}, False),
        ({"recipient": "bob@*"}, {"record": RECORD}, True),
        ({"recipient": "bob@*"}, {"event": EVENT}, True),
    ],
)
def test_conditions(conditions, arguments, wanted) -> None:
    assert When(conditions)(arguments) is wanted


@pytest.mark.parametrize("conditions", [{"recipients": "x"}, {"recipient": []}, {"sender": 3}, {"protocol": [1]}])
def test_conditions_that_mean_nothing(conditions) -> None:
    with pytest.raises(PluginRefused):
        When(conditions)


def test_a_condition_that_the_hook_cannot_answer_is_refused() -> None:
    When({"recipient": "*"}).refuse_for(SPECS["smtp_rcpt"])
    with pytest.raises(PluginRefused, match="cannot be used with smtp_ehlo"):
        When({"recipient": "*"}).refuse_for(SPECS["smtp_ehlo"])


def test_deliver_wants_only_the_recipients_of_its_conditions() -> None:
    @hookimpl
    def deliver(recipient): ...

    host = host_with()
    assert not host.deliver_wants(BOB)
    plugin = host.make("ticket", plugin_of(deliver), "drop-in")
    plugin.when = When({"recipient": "support@*"})
    host.change(add=[plugin])
    assert not host.deliver_wants(BOB)
    assert host.deliver_wants(Address("support", "example.org"))
    host.change(add=[host.make("all", plugin_of(deliver, name="b"), "drop-in")])
    assert host.deliver_wants(BOB)


def test_a_hook_out_of_its_condition_is_not_called() -> None:
    called = []

    @hookimpl
    def smtp_rcpt(recipient):
        called.append(str(recipient))

    host = host_with()
    plugin = host.make("p", plugin_of(smtp_rcpt), "drop-in")
    plugin.when = When({"recipient": "bob@*"})
    host.change(add=[plugin])
    for address in (BOB, Address("eve", "example.org")):
        asyncio.run(host.smtp_rcpt.verdict(session=FakeSession(), transaction=None, recipient=address, params={}))
    assert called == ["bob@example.org"]


@pytest.mark.parametrize(("argument", "record"), [("record", RECORD), ("event", EVENT)])
def test_records_survive_json_and_newer_keys(argument, record) -> None:
    payload = json.loads(json.dumps(payload_of(record)))
    assert record_of(argument, {**payload, "newer": 1}) == record


def test_a_durable_hook_is_called_with_its_record_and_everyone_is_called() -> None:
    seen = []

    @hookimpl
    def delivered(record):
        seen.append(record)
        raise ValueError("down")

    async def second(record):
        seen.append(record)

    second.__name__ = "delivered"
    host = host_with(plugin_of(delivered, name="a"), plugin_of(hookimpl(second), name="b"))
    assert host.durable == {"delivered"}
    assert asyncio.run(host.call_durable("delivered", payload_of(RECORD))) == {"a": "ValueError: down"}
    assert seen == [RECORD, RECORD]
    assert asyncio.run(host.call_durable("delivered", payload_of(RECORD), "b")) == {}
    assert seen == [RECORD, RECORD, RECORD]
    assert asyncio.run(host.call_durable("delivered", payload_of(RECORD), "gone")) == {}
    assert asyncio.run(host.call_durable("bounced", payload_of(RECORD))) == {}
    with pytest.raises(TemporaryFailure):
        asyncio.run(host.call_durable("delivered", {}))


@pytest.mark.parametrize(
    ("when", "called"),
    [
        ({"recipient": "*@example.org"}, True),
        ({"recipient": "*@example.com"}, False),
        ({"sender": "eve@*", "protocol": "smtp"}, True),
        ({"sender": "bob@*"}, False),
        ({"protocol": "submission"}, False),
    ],
)
def test_conditions_look_into_envelopes(when, called) -> None:
    @hookimpl
    def delivery_attempt():
        return reject("no")

    host = host_with()
    plugin = host.make("p", plugin_of(delivery_attempt), "drop-in")
    plugin.when = When(when)
    host.change(add=[plugin])
    envelope = Envelope("q", Address("eve", "example.net"), (Address("a", "example.com.test"), BOB), "smtp", 0.0, 0)
    decision = asyncio.run(host.delivery_attempt.verdict(envelope=envelope, attempt=Attempt(1, "example.org", "smtp")))
    assert (decision.verdict is not None) is called
