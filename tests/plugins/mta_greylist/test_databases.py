"""What is remembered, on the real databases."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path

import pytest

from mta.pluginhost.tables import OwnTables
from mta.testing.plugins import services_with
from mta_greylist.decide import Decision, Seen, Triplet
from mta_greylist.memory import Memory
from mta_greylist.tables import METADATA
from mta_hooks.backends import DatabaseOptions, Schema
from mta_sql import open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()


def test_every_statement_works_on_both(url: str, tmp_path: Path) -> None:
    async def work() -> None:
        database = open_database(url, DatabaseOptions(str(tmp_path), reserve=0))
        await database.open()
        schema = Schema(METADATA)
        await database.tables.migrate("greylist", schema)
        memory = Memory(OwnTables("greylist", schema, services_with(tables=database.tables)))
        triplet = Triplet("192.0.2.0/24", "a@b", "c@d")
        for _ in range(2):
            await memory.note(triplet, Decision("new", 1.0), 1.0)
        assert await memory.seen(triplet) == Seen(1.0, 1.0, 0)
        assert (await memory.is_crowded(triplet.client, 1), await memory.is_crowded(triplet.client, 2)) == (True, False)
        await memory.note(triplet, Decision("too late", 1.0), 3.0)
        await memory.note(triplet, Decision("came back"), 5.0)
        assert await memory.seen(triplet) == Seen(3.0, 5.0, 1)
        assert await memory.passed(triplet.client) == 1
        await memory.allow("@b", "operator", 1.0)
        await memory.allow("@b", "mail", 2.0)
        await memory.remember(["x@y", "z@y"], 3.0)
        assert await memory.is_allowed(["q", "@b"])
        assert [(row.entry, row.made_by) for row in await memory.allowed("", 10)] == [
            ("@b", "operator"),
            ("x@y", "mail"),
            ("z@y", "mail"),
        ]
        assert [row.sender for row in await memory.triplets("A@B", 5)] == ["a@b"]
        assert await memory.triplets("a%b", 5) == []
        assert await memory.expire(1e9, window=1, keep=1) == 3
        assert await memory.forget("@b") == 1
        await database.close()

    asyncio.run(work())
