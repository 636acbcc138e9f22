"""SRS: the scheme's own vectors and properties, whose sender is rewritten, which bounces are led back."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.address import Address
from mta.model.directory import Domain
from mta.testing.plugins import FakeKeys, FakeMessage, FakeSession, FakeTransaction, host_with
from mta_hooks import Envelope, SetSender
from mta_srs import Srs
from mta_srs.scheme import DAY, NotReversible, Scheme, TooLong

NOW = 1_700_000_000.0
SCHEME = Scheme("fwd.example", [b"secret key"])
BOB = Address("Bob.Smith+tag", "example.org")


def test_there_and_back() -> None:
    first = SCHEME.forward(BOB, NOW)
    assert first.domain == "fwd.example"
    assert first.local.startswith("SRS0=")
    assert first.local.endswith("=example.org=Bob.Smith+tag")
    assert SCHEME.reverse(first, NOW + 20 * DAY) == BOB
    assert SCHEME.reverse(Address(first.local.lower(), first.domain), NOW) == Address("bob.smith+tag", "example.org")
    second = Scheme("two.example", [b"other secret"])
    shortcut = second.forward(Address("SRS0=abcd=AB=a.org=bob", "one.example"), NOW)
    assert shortcut.local.partition("=")[0] == "SRS1"
    assert second.reverse(shortcut, NOW) == Address("SRS0=abcd=AB=a.org=bob", "one.example")
    third = Scheme("three.example", [b"third secret"])
    assert third.reverse(third.forward(shortcut, NOW), NOW) == Address("SRS0=abcd=AB=a.org=bob", "one.example"), (
        "back to the first forwarder at once"
    )


def test_a_vector_of_others() -> None:
    """Computed with the algorithm of Mail::SRS::Guarded: HMAC-SHA1 of lc(TT host user), base64, four characters."""
    assert str(Scheme("b.com", [b"foo"]).forward(Address("alice", "a.com"), 0.0)).endswith("=AA=a.com=alice@b.com")
    import base64
    import hashlib
    import hmac

    expected = base64.b64encode(hmac.new(b"foo", b"aaa.comalice", hashlib.sha1).digest()).decode()[:4]
    assert str(Scheme("b.com", [b"foo"]).forward(Address("alice", "a.com"), 0.0)) == f"SRS0={expected}=AA=a.com=alice@b.com"


def test_forged_old_and_rotated() -> None:
    made = SCHEME.forward(BOB, NOW)
    with pytest.raises(NotReversible, match="too old"):
        SCHEME.reverse(made, NOW + 23 * DAY)
    with pytest.raises(NotReversible, match="not ours"):
        Scheme("fwd.example", [b"another"]).reverse(made, NOW)
    with pytest.raises(NotReversible, match="not ours"):
        SCHEME.reverse(Address(made.local.replace("Bob", "Eve"), made.domain), NOW)
    with pytest.raises(NotReversible, match="not ours"):
        SCHEME.reverse(Address("SRS0=a=AA=example.org=bob", "fwd.example"), NOW)
    assert Scheme("fwd.example", [b"new secret", b"secret key"]).reverse(made, NOW) == BOB


def test_long_senders_are_kept_elsewhere() -> None:
    long = Address("x" * 50, "example.org")
    with pytest.raises(TooLong):
        SCHEME.forward(long, NOW)
    token, address = SCHEME.keep(long)
    assert len(address.local) <= 64
    assert SCHEME.token_of(address.local.lower()) == token
    assert SCHEME.token_of("SRS0=x=AA=b=c") is None
    with pytest.raises(NotReversible):
        SCHEME.token_of(f"SRSK=xxxx={token}")


@given(st.text("abcXYZ=+-_.0", min_size=1, max_size=20), st.integers(0, 5000))
def test_every_sender_comes_back(local: str, day: int) -> None:
    sender = Address(local, "example.org")
    if not sender.is_sound:
        return
    try:
        made = SCHEME.forward(sender, day * DAY)
    except TooLong:
        return
    assert made.is_sound
    back = SCHEME.reverse(made, (day + 5) * DAY)
    assert back == sender or made.local.startswith("SRS1")


OURS = {"mx.example.test": Domain("mx.example.test"), "ours.org": Domain("ours.org"), "partner.org": Domain("partner.org", "relay")}


async def is_ours(domain: str) -> Domain | None:
    return OURS.get(domain)


def out(
    sender: str | None,
    recipient: str = "c@far.net",
    user: str = "",
    origin: Any = "smtp",
    keys: FakeKeys | None = None,
    **config: Any,
) -> Any:
    host = host_with(Srs(), config=config, kv=keys or FakeKeys())
    host.services.domain = is_ours
    envelope = Envelope("q", None if sender is None else Address.parse(sender), (Address.parse(recipient),), origin, 0.0, 0, user)

    async def run() -> Any:
        assert host.startup is not None
        assert host.delivery_modify is not None
        await host.startup.all(server=SimpleNamespace(worker=0))
        said = await host.delivery_modify.all(envelope=envelope, message=FakeMessage())
        return said[0][1] if said else None

    return asyncio.run(run())


def test_whose_sender_is_rewritten() -> None:
    assert str(out("bob@example.org").address).endswith("=example.org=bob@mx.example.test")
    assert str(out("bob@example.org", domain="ours.org").address).endswith("@ours.org")
    assert out(None) is None
    assert out("bob@ours.org") is None
    assert out("bob@example.org", user="ann@ours.org", origin="submission") is None
    assert out("bob@example.org", "x@partner.org") is None
    assert out("bob@mail.example.org", keep=[".example.org"]) is None
    assert out("bob@example.org", keep=["far.net"]) is None


def back(recipient: Address, keys: FakeKeys, sender: Address | None = None, **config: Any) -> Any:
    host = host_with(Srs(), config=config, kv=keys)
    assert host.smtp_rcpt is not None
    decision = asyncio.run(
        host.smtp_rcpt.verdict(session=FakeSession(), transaction=FakeTransaction(sender=sender), recipient=recipient, params={})
    )
    return decision.verdict


def test_bounces_are_led_back() -> None:
    keys = FakeKeys()
    edit = out("bob@example.org", keys=keys)
    assert isinstance(edit, SetSender)
    assert edit.address is not None
    assert back(edit.address, keys).target == ("bob@example.org",)
    assert back(edit.address, keys, Address("x", "y.org")).target == ("bob@example.org",)
    assert back(edit.address, keys, Address("x", "y.org"), null_sender_only=True).code == 550
    assert back(Address("SRS0=aaaa=AA=example.org=bob", "mx.example.test"), keys).code == 550
    assert back(Address("bob", "mx.example.test"), keys) is None
    short = Address(edit.address.local[:9] + edit.address.local[11:], edit.address.domain)
    assert back(short, keys).code == 550, "a shorter signature is easier to guess"
    assert back(short, keys, hash_minimum=4).target == ("bob@example.org",)
    assert back(edit.address, keys, domain="ours.org") is None
    long = out("x" * 50 + "@example.org", keys=keys)
    assert back(long.address, keys).target == ("x" * 50 + "@example.org",)
