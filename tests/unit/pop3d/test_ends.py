"""``smtp_disconnect`` over POP3: told once for each connection, with the reason."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.model.verdict import Verdict, reject
from mta.testing.pop3d import Pop3Site
from mta.testing.smtpd import FakePlan


@pytest.mark.parametrize(
    ("reason", "octets"),
    [
        ("quit", b"QUIT\r\n"),
        ("errors", b"NONSENSE\r\n" * 3),
        ("errors", b"AUTH PLAIN AGEAYg==\r\n" * 3),
        ("closed", b"GET / HTTP/1.1\r\n"),
        ("lost", b"CAPA\r\n"),
    ],
)
def test_the_reason(reason: str, octets: bytes) -> None:
    async def run() -> None:
        site = Pop3Site(errors=3)
        plan = site.hooks.smtp_disconnect = FakePlan(lambda **_: None)
        link, wire = site.connect()
        await site.talk(link, wire, octets)
        link.connection_lost(None)
        link.connection_lost(None)  # as after a handshake that failed
        await asyncio.sleep(0)
        assert plan.calls == [{"session": link.session, "reason": reason}]

    asyncio.run(run())


def test_time_shutdown_and_greetings() -> None:
    async def run() -> None:
        site = Pop3Site(connections=1)
        plan = site.hooks.smtp_disconnect = FakePlan(lambda **_: None)

        def refuse(session: object) -> Verdict:
            return reject("not you")

        first, _ = site.connect()
        second, _ = site.connect()
        second.connection_lost(None)
        first.check_time(site.clock.monotonic() + 10_000)
        first.connection_lost(None)
        site.hooks.smtp_connect = FakePlan(refuse)
        third, _ = site.connect()
        await site.settle(third)
        third.connection_lost(None)
        site.hooks.smtp_connect = None
        fourth, _ = site.connect()
        site.server.draining = True
        fourth.dismiss()
        fourth.connection_lost(None)
        await asyncio.sleep(0)
        assert [call["reason"] for call in plan.calls] == ["refused", "timeout", "refused", "shutdown"]

    asyncio.run(run())
