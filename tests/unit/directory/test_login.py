"""The built-in directory as a plugin, and the one login of all protocols."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

import pytest

from mta.directory.builtin import DirectoryPlugin
from mta.directory.login import Login
from mta.directory.passwords import Passwords, hash_password
from mta.model.address import Address
from mta.model.directory import Alias, AuthFail, AuthOk, Domain, User
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.obs.log import Log

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
        arguments.pop("session", None), arguments.pop("service", None)
        return await self.function(**arguments)


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
