"""STORE that fails half way: what was done is told as if somebody else had done it, because NO says nothing of it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mta.imapd import regroup
from mta.model.errors import TemporaryFailure
from mta.testing.imapd import ImapSite
from mta_sql import open_database


@pytest.mark.parametrize("silent", [b"", b".SILENT"])
@pytest.mark.parametrize("fails", ["changed meanwhile", "away"])
def test_half_a_store_is_told_later(silent: bytes, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        site = await ImapSite(database=lambda options: open_database("sqlite", options), data_dir=str(tmp_path)).open()
        await site.deliver(b"x", b"y")
        link, transport = await site.login(b"SELECT INBOX", b"FETCH 1:* (FLAGS)")
        break_second_slice(site, fails, monkeypatch)
        said = await site.talk(link, transport, b"a STORE 1:2 +FLAGS%b (\\Flagged)\r\n" % silent)
        assert said.startswith(b"a NO [UNAVAILABLE]")
        said = await site.talk(link, transport, b"b NOOP\r\n")
        assert said.startswith(b"* 1 FETCH (FLAGS (\\Recent \\Flagged))\r\nb OK"), said
        await site.server.drain(0.1)
        await site.tasks.close()
        await site.database.close()

    asyncio.run(scenario())


def break_second_slice(site: ImapSite, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message a slice: the first is changed, the second is not, because the store says so or is not there."""
    store: Any = site.store
    change: Callable[..., Any] = store.regroup
    calls = []

    async def once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            return await change(*arguments)
        if fails == "away":
            raise TemporaryFailure("database is away")
        return None

    async def away(*_: Any) -> Any:
        raise TemporaryFailure("database is away")

    monkeypatch.setattr(regroup, "SLICE", 1)
    monkeypatch.setattr(store, "regroup", once)
    monkeypatch.setattr(store, "set_flags", away)
