"""The built-in directory plugin: what it remembers, and for how long."""

import asyncio

from mta.directory.builtin import DirectoryPlugin
from mta.model.address import Address
from mta.model.directory import MailboxTarget, User
from mta.model.ids import UserId


def test_answers_are_remembered_for_a_second_and_forgotten_when_told() -> None:
    """A hit asks nothing; a change is seen after ``forget`` at once, else when the second is over. Unknown is never remembered."""

    class Counting:
        def __init__(self) -> None:
            self.asked = 0
            self.users: dict[str, User] = {}

        async def alias(self, source: str) -> None:
            self.asked += 1

        async def user(self, address: Address) -> User | None:
            self.asked += 1
            return self.users.get(str(address))

    async def scenario() -> None:
        now = [0.0]
        backend = Counting()
        plugin = DirectoryPlugin(backend, None, lambda: now[0])  # type: ignore[arg-type]
        bob = Address("bob", "example.test")

        async def ask() -> object:
            return await plugin.alias_expand(bob) or await plugin.recipient_lookup(bob)

        assert await ask() is None
        assert await ask() is None
        assert backend.asked == 4
        backend.users[str(bob)] = User(UserId(1), bob)
        assert await ask() == MailboxTarget(UserId(1), bob)
        await ask()
        asked = backend.asked
        assert await ask() == MailboxTarget(UserId(1), bob)
        assert backend.asked == asked
        backend.users.clear()
        assert await ask() is not None
        plugin.forget()
        assert await ask() is None
        backend.users[str(bob)] = User(UserId(1), bob)
        assert await ask() is not None
        backend.users.clear()
        now[0] = 1.5
        assert await ask() is None

    asyncio.run(scenario())
