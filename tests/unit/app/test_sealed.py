"""Trying something with accounts of another directory: they are found, take mail, and none is made."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.app.sealed import Caught, SealedDatabase, SealedDirectory
from mta.directory.elsewhere import ElsewherePlugin
from mta.model.address import Address
from mta.model.directory import Alias, Domain, MailboxTarget
from mta.testing.conformance import arrive, intake
from mta.testing.memory import MemoryDatabase
from mta_hooks.backends import Account, DatabaseOptions

CAROL = Address("carol", "example.test")


class People:
    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def domain(self, name: str) -> Domain | None:
        return None

    async def account(self, address: Address) -> Account | None:
        return Account(CAROL) if address.local.lower() == "carol" else None

    async def alias(self, source: str) -> Alias | None:
        return None

    async def verify(self, account: Account, password: str) -> bool | None:
        return True


def test_an_account_elsewhere_takes_the_message_that_is_only_tried() -> None:
    async def work() -> None:
        real = MemoryDatabase(DatabaseOptions("/x"))
        alice, _ = await arrive(real)
        caught = Caught()
        directory = SealedDirectory(real.directory, caught)
        sealed = SealedDatabase(real, caught, directory)
        plugin = ElsewherePlugin(directory, [People()])
        found = [await plugin.recipient_lookup(address) for address in (CAROL, Address("Carol", "example.test"))]
        assert isinstance(found[0], MailboxTarget)
        assert found[0] == found[1]
        assert await plugin.recipient_lookup(alice.address) is None
        carol = await directory.user_by_id(found[0].user)
        assert carol is not None
        await sealed.spool.accept(intake(alice, carol))
        assert [effect.text for effect in caught.effects] == ["the account carol@example.test was not made"]
        assert [str(user.address) for user in await real.directory.users()] == ["alice@example.test"]

    asyncio.run(work())
