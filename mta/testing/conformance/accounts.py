"""``Accounts``: a directory that somebody else keeps."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mta.model.address import Address
from mta.model.directory import Alias
from mta_hooks.backends import Accounts


@dataclass(frozen=True)
class Elsewhere:
    """A directory under test, and what is in it.

    make      gives one that is not opened yet; called for each test
    known     address of an account, of any spelling
    unknown   an address in the same domain that is nobody's
    alias     one of its aliases; None: it has none
    password  of ``known``; None: it knows no passwords
    """

    make: Callable[[], Accounts]
    known: Address
    unknown: Address
    alias: Alias | None = None
    password: str | None = None

    def run(self, scenario: Callable[[Accounts], Awaitable[None]]) -> None:
        async def work() -> None:
            made = self.make()
            await made.open()
            try:
                await scenario(made)
            finally:
                await made.close()

        asyncio.run(work())


class AccountsConformance:
    def test_an_account_is_found_in_any_case(self, elsewhere: Elsewhere) -> None:
        async def scenario(db: Accounts) -> None:
            found = await db.account(elsewhere.known)
            assert found is not None
            for local in (elsewhere.known.local.upper(), elsewhere.known.local.lower()):
                assert await db.account(replace(elsewhere.known, local=local)) == found
            assert await db.account(found.address) == found, "the canonical address is one of its addresses"
            assert await db.domain(found.address.domain) is not None

        elsewhere.run(scenario)

    def test_nobody_is_nobody(self, elsewhere: Elsewhere) -> None:
        async def scenario(db: Accounts) -> None:
            assert await db.account(elsewhere.unknown) is None
            assert await db.account(replace(elsewhere.known, domain="elsewhere.invalid")) is None
            assert await db.domain("elsewhere.invalid") is None
            assert await db.alias(f"{elsewhere.unknown.local}@{elsewhere.unknown.domain}".lower()) is None
            assert await db.alias("@elsewhere.invalid") is None

        elsewhere.run(scenario)

    def test_no_name_is_taken_for_a_question(self, elsewhere: Elsewhere) -> None:
        """Filters of LDAP, SQL, paths, globs: an address is data."""

        async def scenario(db: Accounts) -> None:
            bare = elsewhere.known.local
            for local in (
                "*",
                f"{bare}*",
                "%",
                f"{bare})(uid=*",
                f"{bare}'--",
                "../" + bare,
                f"{bare}\\",
                "",
                "ü" * 60,
                "x" * 2000,
                "a b",
            ):
                assert await db.account(Address(local, elsewhere.known.domain)) is None, local

        elsewhere.run(scenario)

    def test_aliases(self, elsewhere: Elsewhere) -> None:
        async def scenario(db: Accounts) -> None:
            if elsewhere.alias is not None:
                assert await db.alias(elsewhere.alias.source) == elsewhere.alias

        elsewhere.run(scenario)

    def test_passwords(self, elsewhere: Elsewhere) -> None:
        async def scenario(db: Accounts) -> None:
            account = await db.account(elsewhere.known)
            assert account is not None
            if elsewhere.password is None:
                assert await db.verify(account, "anything") is None
                return
            assert await db.verify(account, elsewhere.password) is True
            for wrong in (
                elsewhere.password + "x",
                "",
                "\0",
                "ü" * 5000,
            ):  # LDAP takes an empty one for "no name" and says yes
                assert await db.verify(account, wrong) is False

        elsewhere.run(scenario)

    def test_many_ask_at_once(self, elsewhere: Elsewhere) -> None:
        async def scenario(db: Accounts) -> None:
            found = await asyncio.gather(*[db.account(a) for _ in range(100) for a in (elsewhere.known, elsewhere.unknown)])
            assert [account is None for account in found] == [False, True] * 100

        elsewhere.run(scenario)
