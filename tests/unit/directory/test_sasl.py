"""The one driver of SASL: what is offered, how a run goes, and what a bad client or a bad mechanism does to it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
from types import SimpleNamespace

import pytest

from mta.config.sections import Auth
from mta.directory.builtin import DirectoryPlugin
from mta.directory.login import Denied, Login
from mta.directory.passwords import Passwords, hash_password
from mta.directory.sasl import Door, NoMechanism, Sasl
from mta.model.address import Address
from mta.model.directory import AuthOk, User
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.model.verdict import reject
from mta.net.clock import SystemClock
from mta.obs.log import Log
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.context import Services
from mta.pluginhost.host import HookHost
from mta.wire.sasl import MAX_RESPONSE, Challenge, Identified, Rejected, SaslError
from mta_hooks import hookimpl

HASH = hash_password("secret")


class Accounts:
    def __init__(self):
        self.keys = None

    async def user(self, address):
        return User(UserId(7), Address("bob", "here.test")) if str(address).lower() == "bob@here.test" else None

    async def password_hash(self, user):
        return HASH

    async def scram_keys(self, user):
        return self.keys if user == 7 else None

    async def set_scram_keys(self, keys):
        ((user, hash, self.keys),) = keys
        assert (user, hash) == (7, HASH)


class Knock:
    """Three knocks, each answered."""

    name, needs_tls, server_first = "X-KNOCK", False, True

    def __init__(self, peer, ctx):
        self.peer, self.count = peer, 0

    async def step(self, response):
        await asyncio.sleep(0)
        if response is None or response == b"knock":
            self.count += 1
            return Challenge(b"%d" % self.count) if self.count < 4 else Identified("bob@here.test", final=b"come in")
        if response == b"raise":
            raise RuntimeError("broken")
        if response == b"wrong":
            return Rejected("bob@here.test")
        if response == b"keys":
            return Identified((await self.peer.keys("bob@here.test")).user)
        if response == b"stranger":
            return Identified("eve@here.test")
        if response == b"rubbish":
            return "yes"
        raise SaslError("not a knock")


class Plugin:
    def __init__(self, *mechanisms):
        self.mechanisms = mechanisms

    @hookimpl
    def register(self, registry):
        for mechanism in self.mechanisms:
            registry.sasl(mechanism)


def b64(octets):
    return base64.b64encode(octets)


def play(name, *lines, secure=True, mechanisms=(Knock,), auth=None, service="imap", policy=None, accounts=None, told=None):
    """The last outcome; ``lines[0]`` is the initial response or None."""

    async def run():
        host = HookHost(Services("mx.here.test", SystemClock(), Log()))
        host.change(add=[host.make("knocking", Plugin(*mechanisms), "drop-in")])
        host.add_builtin("directory", DirectoryPlugin(accounts or Accounts(), Passwords(), keep_keys=True))
        if policy is not None or told is not None:
            host.change(add=[host.make("other", Other(policy, told), "drop-in")])
        sasl = Sasl(service, host, Login(host, Log()), auth or Auth())
        door = Door(SESSION, secure)
        if name is None:
            return sasl.offered(door)
        exchange = sasl.exchange(name, door)
        outcome = await exchange.begin(lines[0] if lines else None)
        for line in lines[1:]:
            assert isinstance(outcome, Challenge), outcome
            outcome = await exchange.answer(line)
        return outcome

    return asyncio.run(run())


class Other:
    def __init__(self, policy, told):
        self.policy, self.told = policy, told

    @hookimpl
    def auth_policy(self, mechanism, username):
        if self.told is not None:
            self.told.append((mechanism, username))
        return self.policy

    @hookimpl
    def auth_result(self, username, ok, reason):
        if self.told is not None:
            self.told.append((username, ok, reason))


SESSION = SimpleNamespace(id="s1", client_ip="192.0.2.1")
BOB = AuthOk("bob@here.test", UserId(7))


def test_plain_with_and_without_initial_response():
    response = b64(b"\0bob@here.test\0secret")
    assert play("PLAIN", response.decode()) == BOB
    assert play("PLAIN", None) == Challenge(b"")
    assert play("PLAIN", None, response) == BOB


def test_a_login_in_two_responses():
    assert play("LOGIN", None, b64(b"bob@here.test"), b64(b"secret"), service="smtp") == BOB
    assert isinstance(play("LOGIN", b64(b"bob@here.test").decode(), b64(b"wrong"), service="smtp"), Denied)


def test_a_plugins_mechanism_with_data_at_the_end():
    told = []
    knocks = [b64(b"knock")] * 3
    assert play("X-KNOCK", None, *knocks) == Challenge(b"come in")
    assert play("X-KNOCK", None, *knocks, b"", told=told) == BOB
    assert told == [("X-KNOCK", "bob@here.test"), ("bob@here.test", True, "")]
    with pytest.raises(SaslError, match="nothing more"):
        play("X-KNOCK", None, *knocks, b64(b"more"))


def test_what_a_client_does_wrong():
    for line, words in (
        (b"*", "cancelled"),
        (b"!", "base64"),
        (b64(b"bell"), "not a knock"),
        (b"A" * (MAX_RESPONSE + 4), "too long"),
    ):
        with pytest.raises(SaslError, match=words):
            play("X-KNOCK", None, line)


def test_a_run_ends(monkeypatch):
    monkeypatch.setattr("mta.directory.sasl._MOST_STEPS", 3)
    with pytest.raises(SaslError, match="too many"):
        play("X-KNOCK", None, *[b64(b"knock")] * 3)


@pytest.mark.parametrize("word", [b"raise", b"rubbish"])
def test_a_broken_mechanism_is_a_temporary_failure(word):
    with pytest.raises(TemporaryFailure):
        play("X-KNOCK", None, b64(word))


def test_one_answer_for_wrong_and_unknown():
    told = []
    outcomes = [
        play("X-KNOCK", None, b64(b"wrong"), told=told),
        play("X-KNOCK", None, b64(b"stranger"), told=told),
        play("PLAIN", b64(b"\0eve@here.test\0secret").decode(), told=told),
        play("PLAIN", b64(b"\0bob@here.test\0wrong").decode(), told=told),
    ]
    assert {(o.text(), o.known, o.temporary) for o in outcomes} == {("name or password wrong", False, False)}
    assert [entry[1] for entry in told if len(entry) == 3] == [False] * 4


def test_policy_is_asked_once_and_before_keys():
    told = []
    refused = play("X-KNOCK", None, b64(b"keys"), policy=reject("locked"), told=told)
    assert isinstance(refused, Denied)
    assert refused.text() == "locked"
    assert told == [("X-KNOCK", "bob@here.test"), ("bob@here.test", False, "policy")]


def test_keys_come_with_the_first_login_by_password():
    accounts = Accounts()
    assert play("PLAIN", b64(b"\0bob@here.test\0secret").decode(), accounts=accounts) == BOB
    assert accounts.keys.startswith("SCRAM-SHA-256$")
    assert play("X-KNOCK", None, b64(b"keys"), accounts=accounts) == BOB


def test_acting_for_others():
    assert play("PLAIN", b64(b"bob@here.test\0BOB@here.test\0secret").decode()) == BOB
    denied = play("PLAIN", b64(b"eve@here.test\0bob@here.test\0secret").decode())
    assert (denied.known, denied.text()) == (True, "acting for others is not possible")


def test_what_is_offered():
    class Secret(Knock):
        name, needs_tls = "X-SECRET", True

    class Bound(Knock):
        name, channel_binding = "X-BOUND", True

    both = (Knock, Secret, Bound)
    assert play(None, mechanisms=both) == ("X-KNOCK", "X-SECRET", "PLAIN")
    assert play(None, mechanisms=both, service="smtp") == ("X-KNOCK", "X-SECRET", "PLAIN", "LOGIN")
    assert play(None, mechanisms=both, secure=False) == ("X-KNOCK",)
    assert play(None, mechanisms=both, auth=Auth(mechanisms=("LOGIN", "X-KNOCK", "X-GONE"))) == ("LOGIN", "X-KNOCK")
    for name, needs_tls in (
        ("PLAIN", True),
        ("X-SECRET", True),
        ("X-GONE", False),
        ("LOGIN", False),
        ("EXTERNAL", False),
        ("X-BOUND", False),
    ):
        with pytest.raises(NoMechanism) as refused:
            play(name, mechanisms=both, secure=False)
        assert refused.value.needs_tls is needs_tls


@pytest.mark.parametrize(
    ("name", "needs_tls", "words"),
    [("PLAIN", False, "already"), ("x-low", False, "upper case"), ("X-" + "N" * 20, False, "upper case"), (None, False, "upper case"), ("X-A", "no", "True or False")],
)  # fmt: skip
def test_offers_that_cannot_be_used(name, needs_tls, words):
    wrong = type("Wrong", (Knock,), {"name": name, "needs_tls": needs_tls})
    with pytest.raises(PluginRefused, match=words):
        play(None, mechanisms=(wrong,))
    with pytest.raises(PluginRefused, match="takes a class"):
        play(None, mechanisms=(len,))


def test_two_plugins_with_the_same_name():
    host = HookHost(Services("mx.here.test", SystemClock(), Log()))
    host.change(add=[host.make("first", Plugin(Knock), "drop-in", 1)])
    with pytest.raises(PluginRefused, match="X-KNOCK, and so does first"):
        host.change(add=[host.make("second", Plugin(Knock), "drop-in", 2)])
    assert list(host.offering.mechanisms) == ["X-KNOCK"]


def test_without_plain_no_command_takes_a_password():
    for names, taken, unknown in (((), True, []), (("PLAIN",), True, []), (("X-KNOCK", "PLAN"), False, ["PLAN"])):
        host = HookHost(Services("mx.here.test", SystemClock(), Log()))
        host.change(add=[host.make("knocking", Plugin(Knock), "drop-in")])
        sasl = Sasl("imap", host, Login(host, Log()), Auth(mechanisms=names))
        assert (sasl.passwords, sasl.unknown()) == (taken, unknown)
