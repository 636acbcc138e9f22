"""``Directory``: domains, accounts, aliases."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.address import Address
from mta.model.directory import Alias, Domain
from mta.model.errors import AlreadyExists, NoSuchMailbox, NoSuchUser
from mta.model.ids import UserId
from mta.testing.conformance.backend import Backend, append, arrive, intake, rows
from mta_hooks.backends import Database


class DirectoryConformance:
    def test_domains(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.directory.add_domain(Domain("b.test", "relay"))
            await db.directory.add_domain(Domain("a.test"))
            assert await db.directory.domain("B.Test") == Domain("b.test", "relay")
            assert await db.directory.domain("c.test") is None
            assert await db.directory.domains() == [Domain("a.test"), Domain("b.test", "relay")]
            with pytest.raises(AlreadyExists):
                await db.directory.add_domain(Domain("a.test", "relay"))
            await db.directory.delete_domain("a.test")
            with pytest.raises(NoSuchUser):
                await db.directory.delete_domain("a.test")

        backend.run(scenario)

    def test_an_inhabited_domain_stays(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            with pytest.raises(AlreadyExists):
                await db.directory.delete_domain("example.test")
            await db.directory.add_alias(Alias("@example.test", ("x@y.test",)))
            await db.directory.delete_user(user.id)
            with pytest.raises(AlreadyExists):
                await db.directory.delete_domain("example.test")
            await db.directory.delete_alias("@example.test")
            await db.directory.delete_domain("example.test")

        backend.run(scenario)

    def test_accounts_are_found_by_local_part_in_any_case(self, backend: Backend) -> None:
        async def write(db: Database) -> None:
            added = await db.directory.add_users([(Address("Alice", "a.test"), "h1"), (Address("bob smith", "a.test"), "h2")])
            assert [str(user.address) for user in added] == ["Alice@a.test", '"bob smith"@a.test']

        async def read(db: Database) -> None:
            user = await db.directory.user(Address("aLICE", "a.test"))
            assert user is not None
            assert (user.address, user.enabled, user.quota, user.used) == (Address("Alice", "a.test"), True, 0, 0)
            assert await db.directory.user_by_id(user.id) == user
            assert await db.directory.password_hash(user.id) == "h1"
            assert await db.directory.user(Address("alice", "b.test")) is None
            assert await db.directory.user(Address("alice+x", "a.test")) is None
            assert await db.directory.password_hash(UserId(10**9)) is None
            assert await db.directory.domain("a.test") == Domain("a.test")
            assert [u.address.local for u in await db.directory.users()] == ["Alice", "bob smith"]
            assert await db.directory.users("b.test") == []

        backend.run(write, read)

    def test_adding_accounts_is_all_or_none(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await arrive(db)
            with pytest.raises(AlreadyExists, match="ALICE@example"):
                await db.directory.add_users([(Address("carol", "new.test"), "h"), (Address("ALICE", "example.test"), "h")])
            assert [str(user.address) for user in await db.directory.users()] == ["alice@example.test"]
            assert await db.directory.domain("new.test") is None
            with pytest.raises(AlreadyExists):
                await db.directory.add_users([(Address("d", "new.test"), "h"), (Address("D", "new.test"), "h")])
            assert len(await db.directory.users()) == 1

        backend.run(scenario)

    def test_500_accounts_at_once(self, backend: Backend) -> None:
        told: list[int] = []

        async def scenario(db: Database) -> None:
            users = [(Address(f"u{n}", "many.test"), f"h{n}") for n in range(500)]
            added = await db.directory.add_users(users, told.append)
            assert len({user.id for user in added}) == 500
            assert told[-1] == 500
            assert len(await db.store.mailboxes(added[499].id)) == 6
            inboxes = [await db.store.mailbox(user.id, "INBOX") for user in added]
            assert len({inbox.uid_validity for inbox in inboxes}) == 500

        backend.run(scenario)

    def test_scram_keys_belong_to_one_password(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            directory = db.directory
            first = await directory.password_hash(user.id) or ""
            assert await directory.scram_keys(user.id) is None
            assert await directory.scram_keys(UserId(10**9)) is None
            await directory.set_scram_keys([(user.id, first, "keys"), (UserId(10**9), "x", "others")])
            assert await directory.scram_keys(user.id) == "keys"
            await directory.set_password(user.id, "new")
            assert await directory.scram_keys(user.id) is None
            await directory.set_scram_keys([(user.id, first, "keys of the old one")])
            assert await directory.scram_keys(user.id) is None

        backend.run(scenario)

    def test_accounts_change(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.directory.set_password(user.id, "new")
            await db.directory.set_quota(user.id, 1000)
            await db.directory.set_enabled(user.id, False)
            await append(db, inbox, octets=b"x" * 10)
            found = await db.directory.user(user.address)
            assert found is not None
            assert (found.enabled, found.quota, found.used) == (False, 1000, 10)
            assert await db.directory.password_hash(user.id) == "new"
            for call in (
                db.directory.set_password(UserId(10**9), "x"),
                db.directory.set_quota(UserId(10**9), 1),
                db.directory.set_enabled(UserId(10**9), True),
                db.directory.delete_user(UserId(10**9)),
            ):
                with pytest.raises(NoSuchUser):
                    await call

        backend.run(scenario)

    def test_a_deleted_account_leaves_nothing_to_the_next_of_its_name(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, inbox = await arrive(db)
            await db.spool.accept(intake(user))
            await db.directory.delete_user(user.id)
            assert await db.directory.user(user.address) is None
            with pytest.raises(NoSuchMailbox):
                await rows(db, inbox)
            again, other = await arrive(db)
            assert again.id != user.id
            assert other.id != inbox.id
            assert other.uid_validity > inbox.uid_validity
            assert await rows(db, other) == []
            await db.spool.accept(intake(again))
            assert len(await rows(db, other)) == 1

        backend.run(scenario)

    def test_aliases(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            await db.directory.add_alias(Alias("Info@a.test", ("x@a.test", "y@b.test")))
            await db.directory.add_alias(Alias("@b.test", ("x@a.test",)))
            assert await db.directory.alias("info@a.test") == Alias("info@a.test", ("x@a.test", "y@b.test"))
            assert await db.directory.alias("@b.test") == Alias("@b.test", ("x@a.test",))
            assert await db.directory.alias("other@a.test") is None
            assert [alias.source for alias in await db.directory.aliases()] == ["@b.test", "info@a.test"]
            assert [alias.source for alias in await db.directory.aliases("a.test")] == ["info@a.test"]
            with pytest.raises(AlreadyExists):
                await db.directory.add_alias(Alias("INFO@a.test", ("z@a.test",)))
            await db.directory.delete_alias("Info@a.test")
            with pytest.raises(NoSuchUser):
                await db.directory.delete_alias("info@a.test")

        backend.run(scenario)

    def test_another_process_may_change_it_at_any_time(self, backend: Backend) -> None:
        async def scenario(server: Database) -> None:
            command = await backend.open()
            try:
                await arrive(server)
                [user] = await command.directory.add_users([(Address("late", "example.test"), "h")])
                found = await server.directory.user(user.address)
                assert found is not None
                assert found.id == user.id
                await server.spool.accept(intake(found))
                await command.directory.delete_user(user.id)
                assert await server.directory.user(user.address) is None
            finally:
                await command.close()

        backend.run(scenario)
