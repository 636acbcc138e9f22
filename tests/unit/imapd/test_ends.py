"""``smtp_disconnect`` over IMAP: told once for each connection, with the reason."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mta.model.verdict import reject
from mta.testing.imapd import FakeTransport, ImapSite
from mta.testing.smtpd import FakePlan

Scene = Callable[[ImapSite, Any, FakeTransport], Any]


async def says(site: ImapSite, link: Any, wire: FakeTransport, octets: bytes) -> None:
    await site.talk(link, wire, octets)


async def leaves(_site: ImapSite, link: Any, _wire: FakeTransport) -> None:
    link.connection_lost(None)


async def drains(site: ImapSite, _link: Any, _wire: FakeTransport) -> None:
    await site.server.drain(0.0)


async def waits(site: ImapSite, link: Any, _wire: FakeTransport) -> None:
    link.check_time(site.clock.monotonic() + 10_000)


def speaks(octets: bytes) -> Scene:
    return lambda site, link, wire: says(site, link, wire, octets)


SCENES: list[tuple[str, Scene]] = [
    ("quit", speaks(b"a LOGOUT\r\n")),
    ("errors", speaks(b"a LOGIN x y\r\n" * 3)),
    ("errors", speaks(b"a NONSENSE\r\n" * 3)),
    ("lost", leaves),
    ("shutdown", drains),
    ("timeout", waits),
]


@pytest.mark.parametrize(("reason", "scene"), SCENES)
def test_the_reason(reason: str, scene: Scene) -> None:
    async def run() -> None:
        site = await ImapSite(errors=3).open()
        plan = site.hooks.smtp_disconnect = FakePlan(lambda **_: None)
        link, wire = site.connect()
        wire.take()
        await scene(site, link, wire)
        for _ in range(5):
            await asyncio.sleep(0)
        assert plan.calls == [{"session": link.session.peer, "reason": reason}]
        await site.tasks.close()

    asyncio.run(run())


def test_a_greeting_that_refuses_and_a_verdict_that_hangs_up() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        plan = site.hooks.smtp_disconnect = FakePlan(lambda **_: None)
        site.hooks.smtp_connect = FakePlan(lambda **_: reject("not you"))
        link, _ = site.connect()
        await site.settle(link)
        site.hooks.smtp_connect = None
        site.hooks.auth_policy = FakePlan(lambda **_: reject("not here").disconnect())
        link, wire = site.connect()
        await site.talk(link, wire, b"a LOGIN x y\r\n")
        await asyncio.sleep(0)
        assert [call["reason"] for call in plan.calls] == ["refused", "closed"]
        await site.tasks.close()

    asyncio.run(run())
