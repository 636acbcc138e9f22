"""VERP: whose return path is made how, one recipient for each transaction, what cannot be made."""

import asyncio
from typing import Any

import mta_verp
from mta.model.address import Address
from mta.testing.plugins import FakeMessage, host_with
from mta_hooks import Envelope
from mta_verp import return_path

NEWS = {"senders": {"news@example.org": "yes", "@lists.example.org": "", "off@lists.example.org": "no"}}


def ask(sender: str, *recipients: str, origin: Any = "submission", **config: Any) -> tuple[Any, Any]:
    host = host_with(mta_verp, config={**NEWS, **config})
    envelope = Envelope("q", Address.parse(sender), tuple(map(Address.parse, recipients)), origin, 0.0, 0)

    async def run() -> tuple[Any, Any]:
        assert host.delivery_policy is not None
        assert host.delivery_modify is not None
        policy = await host.delivery_policy.first(envelope=envelope, site="far.net")
        said = await host.delivery_modify.all(envelope=envelope, message=FakeMessage())
        return policy, said[0][1].address if said else None

    return asyncio.run(run())


def test_each_recipient_has_a_return_path() -> None:
    assert ask("news@example.org", "bob@far.net") == (None, Address("news+bob=far.net", "example.org"))
    policy, path = ask("News@example.org", "bob@far.net", "ann@far.net")
    assert policy.recipients == 1
    assert path is None
    assert ask("other@example.org", "bob@far.net") == (None, None)
    assert ask("off@lists.example.org", "bob@far.net", "ann@far.net") == (None, None)
    assert ask("news@example.org", "bob@far.net", origin="smtp") == (None, None)
    assert ask("news@example.org", "bob@far.net", origin="smtp", locals=False)[1] is not None


def test_forms() -> None:
    assert return_path(Address("n", "e.org"), Address("bob+x", "far.net"), "-~") == Address("n-bob+x~far.net", "e.org")
    assert return_path(Address("n", "e.org"), Address("x" * 60, "far.net")) is None
    assert return_path(Address("n", "e.org"), Address('b"b', "far.net")) == Address('n+b"b=far.net', "e.org")
