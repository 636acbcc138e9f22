"""Commands over a long queue: plugins are asked a page at a time, about everything before anything is done."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from dataclasses import replace

import click
import pytest

from mta.cli import queue_vetting as module
from mta.cli.queue_vetting import VettedQueue
from mta.model.address import Address
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.model.message import Intake, OctetContent, QueuedRecipient
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import host_with
from mta_hooks import hookimpl
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.queue import QueueFilter

ALL = QueueFilter(everything=True)


class Rules:
    """Leaves out who is called "kept"; fails when it is shown "bad"."""

    def __init__(self):
        self.asked = []

    @hookimpl
    def queue_admin(self, action, envelopes, data):
        names = [who.local for one in envelopes for who in one.recipients]
        self.asked.append((action, names, dict(data)))
        if "bad" in names:
            raise ValueError("not that one")
        return [replace(e, recipients=left) for e in envelopes if (left := tuple(r for r in e.recipients if r.local != "kept"))]


def over(names, work, monkeypatch, *, dry=False):
    """Run ``work(vetted, database)`` over a message to ``names``; returns what it gave, and what the plugin was asked."""
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "AT_ONCE", 2)
    rules = Rules()
    host = host_with(rules, strict=False)

    async def main():
        database = MemoryDatabase(DatabaseOptions(data_dir=""))
        queued = tuple(QueuedRecipient(Address(name, "x.test"), "remote", notify=frozenset({"FAILURE"})) for name in names)
        await database.spool.accept(Intake(QueueId("Q"), "smtp", None, OctetContent(b"A: b\r\n\r\n"), 1.0, queued=queued))
        return await work(VettedQueue(database.queue, host, dry=dry), database)

    return asyncio.run(main()), rules.asked


async def states(database):
    return {row.recipient.partition("@")[0]: row.state for row in await database.queue.list(ALL, now=2.0)}


def test_pages_are_asked_about_and_done_in_pieces(monkeypatch):
    async def work(vetted, database):
        return await vetted.hold(ALL, "why"), await states(database)

    (count, after), asked = over(["a", "b", "kept", "c", "d"], work, monkeypatch)
    assert count == 4
    assert after == {"a": "held", "b": "held", "kept": "due", "c": "held", "d": "held"}
    assert [names for _, names, _ in asked] == [["a", "b"], ["kept", "c"], ["d"]]
    assert asked[0][2] == {"by": "command", "reason": "why"}


def test_nothing_is_done_when_a_later_page_fails(monkeypatch):
    async def work(vetted, database):
        with pytest.raises(TemporaryFailure):
            await vetted.delete(ALL)
        return await states(database)

    after, _ = over(["a", "b", "c", "bad"], work, monkeypatch)
    assert len(after) == 4


def test_a_dry_run_asks_and_does_nothing(monkeypatch):
    async def work(vetted, database):
        return await vetted.flush(ALL, now=2.0), await vetted.reroute(ALL, "smtp://h:25", now=2.0), await database.queue.count()

    (flushed, rerouted, left), asked = over(["a", "kept", "c"], work, monkeypatch, dry=True)
    assert (flushed, rerouted, left) == (2, 2, 3)
    assert [action for action, _, _ in asked] == ["retry", "retry", "reroute", "reroute"]


def test_an_edit_is_done_when_nobody_is_left_out(monkeypatch):
    put = {Address("a", "x.test"): Address("new", "y.test")}

    async def work(vetted, database):
        with pytest.raises(click.UsageError, match=r"nobody@x\.test"):
            await vetted.edit(QueueId("Q"), [], [Address("nobody", "x.test")], {})
        done = await vetted.edit(QueueId("Q"), [Address("more", "y.test")], [Address("b", "x.test")], put)
        return done, [(row.recipient, row.orcpt, row.notify) for row in await database.queue.list(ALL, now=2.0)]

    (done, rows), asked = over(["a", "b", "c"], work, monkeypatch)
    assert done == (2, 2)
    assert rows == [("c@x.test", None, ("FAILURE",)), ("more@y.test", None, ()), ("new@y.test", "rfc822;a@x.test", ("FAILURE",))]
    assert asked[-1][2] == {"by": "command", "add": "more@y.test new@y.test", "remove": "b@x.test a@x.test"}

    async def refused(vetted, database):
        return await vetted.edit(QueueId("Q"), [Address("more", "y.test")], [], {}), await database.queue.count()

    assert over(["a", "kept"], refused, monkeypatch)[0] == ((0, 0), 2)
