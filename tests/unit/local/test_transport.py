"""Deliver hooks, then the mailbox, placed by its hook."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.local.transport import LocalTransport
from mta.model.address import Address
from mta.model.delivery import Leased, QueuedMessage
from mta.model.directory import User
from mta.model.ids import BlobId, QueueId, UserId
from mta.model.message import Placement
from mta.testing.plugins import FakeMessage, RecordingLog, host_with
from mta_hooks import Deferred, Failed, hookimpl

BOB = User(UserId(7), Address("bob", "here.test"))


class Directory:
    async def user_by_id(self, user):
        return BOB if user == BOB.id else None


def deliver(*plugins, address="bob@here.test", user=BOB.id):
    message = QueuedMessage(QueueId("q"), "smtp", None, BlobId(1), 1, 0, 0.0, None, None, False, False, "", "")
    leased = Leased(1, message, Address.parse(address), "local", "local", user, None, frozenset(), 0, 0.0, "", False)
    loads = []

    async def load():
        loads.append(1)
        return FakeMessage()

    async def main():
        hooks = host_with(*plugins, strict=False)
        transport = LocalTransport(hooks, Directory(), RecordingLog())
        try:
            return transport.waits, await transport.deliver(leased, load), len(loads)
        finally:
            hooks.stop()

    return asyncio.run(main())


def test_without_hooks_the_message_is_not_even_read():
    waits, result, loads = deliver()
    assert (waits, loads) == (False, 0)
    assert (result.delivery.user, result.delivery.placement) == (BOB.id, Placement())
    assert result.reply == "250 2.0.0 delivered to INBOX"


def test_the_mailbox_hook_places_it_and_knows_the_detail():
    seen = []

    @hookimpl
    def mailbox_deliver(user, recipient, message, placement):
        seen.append((user, str(recipient), message.notes["detail"]))
        return Placement(folder="Lists")

    waits, result, _ = deliver(mailbox_deliver, address="Bob+news@here.test")
    assert waits
    assert seen == [("bob@here.test", "Bob+news@here.test", "news")]
    assert result.delivery.placement.folder == "Lists"


def test_an_account_that_went_meanwhile():
    @hookimpl
    def mailbox_deliver(placement):
        return placement

    assert deliver(mailbox_deliver, user=UserId(8))[1].reply.startswith("550 5.1.1")
    assert deliver(user=None)[1].reply.startswith("550 5.1.1")


def test_codes_of_a_hook_are_of_the_class_of_its_answer():
    @hookimpl
    def deliver_failed():
        return Failed("no", "4.2.0")

    @hookimpl
    def deliver_deferred():
        return Deferred("later", "5.2.0", delay=9)

    for function, reply, delay in (
        (deliver_failed, "554 5.0.0 no", None),
        (deliver_deferred, "451 4.0.0 later", 9),
    ):
        function.__name__ = "deliver"
        _, result, _ = deliver(function)
        assert (result.reply, result.delay, result.delivery) == (reply, delay, None)


def test_a_failing_hook_defers():
    @hookimpl
    def mailbox_deliver(placement):
        raise RuntimeError("bug")

    @hookimpl
    async def deliver_hook(message):
        raise RuntimeError("bug")

    deliver_hook.__name__ = "deliver"
    assert deliver(deliver_hook)[1].reply.startswith("451 4.3.0")
    assert deliver(mailbox_deliver)[1].delivery is not None  # placement is enrichment: the mail goes to the inbox
