"""Accounts that somebody else keeps: who is asked, what is made here, and what becomes of those who are gone."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine
from typing import Any

from mta.directory.elsewhere import ELSEWHERE, ElsewherePlugin
from mta.directory.passwords import Passwords
from mta.model.address import Address
from mta.model.directory import Alias, AliasTarget, AuthFail, AuthOk, Domain, MailboxTarget, NotFound
from mta.model.errors import AlreadyExists
from mta.testing.memory import Data, MemoryDatabase
from mta_hooks.backends import Account, DatabaseOptions

ALICE, CAROL = Address("alice", "a.test"), Address("carol", "a.test")


class People:
    """Carol, with the password "secret", and an alias."""

    def __init__(self) -> None:
        self.people = {"carol": Account(CAROL)}
        self.asked: list[str] = []

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def domain(self, name: str) -> Domain | None:
        return Domain(name) if name in ("a.test", "b.test") else None

    async def account(self, address: Address) -> Account | None:
        self.asked.append(str(address))
        return self.people.get(address.local.lower()) if address.domain in ("a.test", "b.test") else None

    async def alias(self, source: str) -> Alias | None:
        return Alias(source, ("carol@a.test",)) if source in ("info@a.test", "sales@a.test") else None

    async def verify(self, account: Account, password: str) -> bool | None:
        return None if password == "?" else password == "secret"


class Ground:
    def __init__(self) -> None:
        self.people = People()
        self.directory = MemoryDatabase(DatabaseOptions("/x"), Data()).directory
        self.plugin = ElsewherePlugin(self.directory, [self.people])
        self.run(self.directory.add_users([(ALICE, "hash")]))
        self.run(self.directory.add_alias(Alias("info@a.test", ("alice@a.test",))))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


def test_the_database_comes_first() -> None:
    ground = Ground()
    ground.people.people["alice"] = Account(ALICE)
    assert ground.run(ground.plugin.recipient_lookup(ALICE)) is None
    assert ground.run(ground.plugin.auth_verify("alice@a.test", "secret")) is None
    assert ground.run(ground.plugin.user_lookup("alice@a.test")) is None
    assert ground.people.asked == []
    assert ground.run(ground.plugin.alias_expand(Address("Info", "a.test"))) is None
    assert ground.run(ground.plugin.alias_expand(Address("Sales", "a.test"))) == AliasTarget(("carol@a.test",))
    assert ground.run(ground.plugin.domain_lookup("a.test")) is None
    assert ground.run(ground.plugin.domain_lookup("b.test")) == Domain("b.test")
    assert ground.run(ground.plugin.domain_lookup("c.test")) is None


def test_an_account_is_made_once_and_found_by_each_of_its_addresses() -> None:
    ground = Ground()
    first = ground.run(ground.plugin.recipient_lookup(Address("Carol", "b.test")))
    assert isinstance(first, MailboxTarget)
    assert first.address == CAROL
    assert ground.run(ground.plugin.recipient_lookup(CAROL)) == first
    assert ground.run(ground.plugin.user_lookup("carol@b.test")).id == first.user
    assert ground.run(ground.plugin.auth_verify("carol@b.test", "secret")) == AuthOk("carol@a.test", first.user)
    assert [str(user.address) for user in ground.run(ground.directory.users())] == ["alice@a.test", "carol@a.test"]
    assert ground.run(ground.directory.password_hash(first.user)) == ELSEWHERE


def test_nobody_is_left_to_those_asked_later() -> None:
    ground = Ground()
    for address in (Address("dave", "a.test"), Address("", "a.test")):
        assert ground.run(ground.plugin.recipient_lookup(address)) is None
    for name in ("dave@a.test", "not an address", ""):
        assert ground.run(ground.plugin.auth_verify(name, "secret")) is None
        assert ground.run(ground.plugin.user_lookup(name)) is None
    assert len(ground.run(ground.directory.users())) == 1


def test_passwords() -> None:
    ground = Ground()
    assert ground.run(ground.plugin.auth_verify("carol@a.test", "wrong")) == AuthFail()
    assert ground.run(ground.plugin.auth_verify("carol@a.test", "?")) is None  # others may know
    assert len(ground.run(ground.directory.users())) == 1  # who does not get in gets no account
    ground.people.people["carol"] = Account(CAROL, enabled=False)
    assert ground.run(ground.plugin.auth_verify("carol@a.test", "secret")) == AuthFail()
    assert ground.run(ground.plugin.user_lookup("carol@a.test")).enabled is False
    ground.people.people["carol"] = Account(CAROL)
    user = ground.run(ground.plugin.user_lookup("carol@a.test"))
    ground.run(ground.directory.set_enabled(user.id, False))  # the operator's word counts as well
    assert ground.run(ground.plugin.auth_verify("carol@a.test", "secret")) == AuthFail()


def test_who_is_gone_receives_nothing_and_cannot_log_in() -> None:
    ground = Ground()
    ground.run(ground.plugin.recipient_lookup(CAROL))
    del ground.people.people["carol"]
    assert ground.run(ground.plugin.recipient_lookup(CAROL)) == NotFound()
    assert ground.run(ground.plugin.auth_verify("carol@a.test", "secret")) == AuthFail()
    assert ground.run(ground.plugin.user_lookup("carol@a.test")).enabled is False
    ground.people.people["carol"] = Account(CAROL)
    assert isinstance(ground.run(ground.plugin.recipient_lookup(CAROL)), MailboxTarget)


def test_two_workers_make_one_account() -> None:
    ground = Ground()
    add = ground.directory.add_users

    async def beaten(users: Any, progress: Any = None) -> Any:
        await add(users, progress)
        raise AlreadyExists(str(users[0][0]))

    ground.directory.add_users = beaten  # type: ignore[method-assign]
    assert isinstance(ground.run(ground.plugin.recipient_lookup(CAROL)), MailboxTarget)


def test_no_password_fits_the_mark() -> None:
    async def work() -> None:
        passwords = Passwords()
        for password in (ELSEWHERE, "", "elsewhere"):
            assert not await passwords.verify(ELSEWHERE, password)
        passwords.close()

    asyncio.run(work())
