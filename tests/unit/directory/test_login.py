"""The built-in directory as a plugin, and the one login of all protocols."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import inspect
from types import SimpleNamespace

import pytest

from mta.directory.builtin import DirectoryPlugin
from mta.directory.login import Attempt, Denied, Login
from mta.directory.passwords import Passwords, hash_password
from mta.model.address import Address
from mta.model.directory import Alias, AuthFail, AuthOk, Domain, User
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.model.verdict import defer, reject
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.plan import Decision
from mta.wire.sasl import Credentials

SESSION = SimpleNamespace(id="s1", client_ip="192.0.2.1")


class Accounts:
    def __init__(self):
        self.hash = hash_password("secret")
        self.enabled = True

    async def domain(self, name):
        return Domain(name) if name == "here.test" else None

    async def alias(self, source):
        return Alias(source, ("bob@here.test",)) if source in ("info@here.test", "@here.test") else None

    async def user(self, address):
        known = (address.local.lower(), address.domain) == ("bob", "here.test")
        return User(UserId(7), Address("bob", "here.test"), self.enabled) if known else None

    async def password_hash(self, user):
        return self.hash


class Plan:
    def __init__(self, function):
        self.function = function

    async def first(self, **arguments):
        known = inspect.signature(self.function).parameters
        return await self.function(**{name: value for name, value in arguments.items() if name in known})


def login(username, password, accounts=None):
    async def run():
        plugin = DirectoryPlugin(accounts or Accounts(), Passwords())
        return await Login(SimpleNamespace(auth_verify=Plan(plugin.auth_verify)), Log()).authenticate(
            "imap", username, password, SESSION
        )

    return asyncio.run(run())


def test_right_password_gives_the_canonical_address():
    assert login("Bob@HERE.test", "secret") == AuthOk("bob@here.test", UserId(7))


@pytest.mark.parametrize(
    ("username", "password"),
    [("bob@here.test", "wrong"), ("eve@here.test", "secret"), ("bob", "secret"), ("", "secret"), ("bob@here.test\0", "secret")],
)
def test_everything_else_fails(username, password):
    assert isinstance(login(username, password), AuthFail)


def test_disabled_account_fails():
    accounts = Accounts()
    accounts.enabled = False
    assert isinstance(login("bob@here.test", "secret", accounts), AuthFail)


def test_no_plugin_means_no_login():
    answer = asyncio.run(Login(SimpleNamespace(auth_verify=None), Log()).authenticate("pop3", "a@b.test", "x", SESSION))
    assert isinstance(answer, AuthFail)


def test_failing_plugin_is_temporary():
    async def away(**_):
        raise TemporaryFailure("database is away")

    with pytest.raises(TemporaryFailure):
        asyncio.run(Login(SimpleNamespace(auth_verify=Plan(away)), Log()).authenticate("pop3", "a@b.test", "x", SESSION))


def test_lookups_of_the_builtin_directory():
    async def run():
        plugin = DirectoryPlugin(Accounts(), Passwords())
        assert await plugin.domain_lookup("here.test") == Domain("here.test")
        assert (await plugin.alias_expand(Address("Info", "here.test"))).targets == ("bob@here.test",)
        assert (await plugin.alias_expand(Address("", "here.test"))).targets == ("bob@here.test",)
        assert (await plugin.recipient_lookup(Address("Bob", "here.test"))).user == UserId(7)
        assert await plugin.recipient_lookup(Address("", "here.test")) is None
        assert (await plugin.user_lookup("bob@here.test")).id == UserId(7)
        assert await plugin.user_lookup("bob") is None

    asyncio.run(run())


class Hook:
    """A plan that gives one verdict and keeps what it was asked or told."""

    def __init__(self, verdict=None):
        self.verdict_, self.calls = verdict, []

    async def verdict(self, **arguments):
        self.calls.append(arguments)
        return Decision(self.verdict_, "p", 0.0, ())

    async def notify(self, **arguments):
        self.calls.append(arguments)


BOB = AuthOk("bob@here.test", UserId(7))


def whole(*, policy=None, session=None, password="secret", mailbox=True, user=BOB, broken=False):
    """A whole login: the answer, and the hooks."""

    async def verify(username, credential):
        if broken:
            raise TemporaryFailure("database is away")
        return user if credential == "secret" else AuthFail("wrong password")

    hooks = SimpleNamespace(
        auth_policy=Hook(policy),
        auth_verify=Plan(verify),
        user_lookup=None,
        session_login=Hook(session),
        auth_result=Hook(),
        mailbox_event=None,
    )

    async def run():
        tasks = Tasks(Log())
        try:
            return await Login(hooks, Log(), tasks).log_in(Attempt("imap", "PLAIN", SESSION, mailbox), Credentials("Bob", password))
        except TemporaryFailure as exc:
            return exc
        finally:
            await asyncio.sleep(0)
            await tasks.close()

    return asyncio.run(run()), hooks


def told(hooks):
    [call] = hooks.auth_result.calls
    assert (call["session"], call["username"]) == (SESSION, "Bob")
    return call["ok"], call["reason"]


def test_every_hook_of_a_login_is_asked_with_its_arguments():
    answer, hooks = whole()
    assert answer == AuthOk("bob@here.test", UserId(7))
    assert hooks.auth_policy.calls == [{"session": SESSION, "mechanism": "PLAIN", "username": "Bob"}]
    assert hooks.session_login.calls == [{"session": SESSION, "user": "bob@here.test"}]
    assert told(hooks) == (True, "")


@pytest.mark.parametrize("verdict", [reject("no"), defer("later"), reject("no").disconnect()])
def test_policy_refuses_before_the_password_is_tried(verdict):
    answer, hooks = whole(policy=verdict, broken=True)
    assert answer == Denied("policy", verdict)
    assert (answer.temporary, answer.hang_up, answer.text()) == (verdict.code < 500, verdict.hang_up, verdict.text)
    assert hooks.session_login.calls == []
    assert told(hooks) == (False, "policy")


def test_session_login_refuses_who_had_the_right_password():
    answer, hooks = whole(session=reject("webmail only"))
    assert answer == Denied("policy", reject("webmail only"), known=True)
    assert told(hooks) == (False, "policy")


def test_a_wrong_password_asks_no_further():
    answer, hooks = whole(password="wrong", session=reject("never asked"))
    assert answer == Denied("wrong password")
    assert (answer.text(), answer.temporary) == ("name or password wrong", False)
    assert hooks.session_login.calls == []
    assert told(hooks) == (False, "wrong password")


def test_an_account_without_mailbox():
    assert whole(user=AuthOk("bob@here.test"))[0] == Denied("account has no mailbox")
    assert whole(user=AuthOk("bob@here.test"), mailbox=False)[0] == AuthOk("bob@here.test")


def test_a_failure_is_told_and_raised():
    answer, hooks = whole(broken=True)
    assert isinstance(answer, TemporaryFailure)
    assert told(hooks) == (False, "temporary failure")


@pytest.mark.parametrize(
    ("enabled", "expected"), [(True, AuthOk("bob@here.test", UserId(7))), (False, AuthFail("account is disabled"))]
)
def test_a_password_of_another_source_opens_the_account_of_the_directory(enabled, expected):
    """A plugin that answers without an account id (htpasswd, PAM): mailbox and permission come from the directory."""

    async def elsewhere(username, credential):
        return AuthOk(username) if credential == "file" else None

    async def run():
        accounts = Accounts()
        accounts.enabled = enabled
        plugin = DirectoryPlugin(accounts, Passwords())
        hooks = SimpleNamespace(auth_verify=Plan(elsewhere), user_lookup=Plan(plugin.user_lookup))
        return await Login(hooks, Log()).authenticate("imap", "bob@here.test", "file", SESSION)

    assert asyncio.run(run()) == expected
