"""Regular expression bombs: tables of an operator over text that strangers choose (James CVE-2021-40111)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.net.tasks import Tasks
from mta.testing.plugins import FakeMessage, FakeSession, RecordingLog, host_with
from mta_checks import Checks

BOMBS = {
    "nested": (r"/^X-Bomb: (a+)+$/", b"a" * 8000 + b"b"),
    "alternatives": (r"/^X-Bomb: (a|aa|a?)+$/", b"a" * 8000 + b"b"),
    "one after another": (r"/^X-Bomb: .*a.*b.*c.*d/", b"abc" * 2700),
    "an address": (r"/^X-Bomb: ([\w.-]+)*@/", b"a." * 4000),
    "spaces": (r"/^X-Bomb:\s+(\s*x\s*)+y/", b" x" * 4000),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["headers", "body"])
def test_regular_expression_bombs(bomb: str, place: str, tmp_path: Path) -> None:
    """The time is bounded whatever the text, and other sessions hardly wait meanwhile."""
    pattern, text = BOMBS[bomb]
    (tmp_path / "table").write_text(f"{pattern} REJECT\n/^X-Last/ REJECT found\n")
    line = b"X-Bomb: " + (text if place == "headers" else text[-1900:])  # of a line in a body no more is looked at
    octets = b"\r\n".join(
        [line, b"X-Last: x", b"", b"body", b""] if place == "headers" else [b"Subject: x", b"", line, b"X-Last", b""]
    )
    host = host_with(Checks(), config={place: f"regexp:{tmp_path}/table"})
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    async def run() -> str:
        tasks = Tasks(RecordingLog())
        tasks.spawn(watch(), "watch")
        assert host.message_check is not None
        message = FakeMessage(octets, sender=Address("a", "elsewhere.test"))
        decision = await host.message_check.verdict(session=FakeSession(), message=message, recipients=(), results=[])
        await tasks.close()
        return decision.verdict.text if decision.verdict is not None else ""

    began = time.monotonic()
    assert asyncio.run(run()) == "found", "the rules behind it are still asked"
    assert time.monotonic() - began < 5
    assert longest < 0.5
