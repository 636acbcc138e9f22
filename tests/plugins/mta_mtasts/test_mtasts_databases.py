"""What is kept, on the real databases."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.pluginhost.tables import OwnTables
from mta.testing.plugins import services_with
from mta_hooks.backends import DatabaseOptions, Schema
from mta_mtasts.cache import METADATA, Cache, Kept
from mta_mtasts.policy import Policy
from mta_sql import open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()


def test_every_statement_works_on_both(url, tmp_path):
    async def work():
        database = open_database(url, DatabaseOptions(str(tmp_path), reserve=0))
        await database.open()
        schema = Schema(METADATA)
        await database.tables.migrate("mtasts", schema)
        kept = Cache(OwnTables("mtasts", schema, services_with(tables=database.tables)))
        policy = Policy("enforce", 86400, ("*.b.test",))
        for now in (10.0, 20.0):
            await kept.keep("b.test", "id", policy, now)
        assert await kept.find("b.test", 86419.0) == Kept("b.test", "id", policy, 20.0, 86420.0, 20.0)
        assert await kept.find("b.test", 86421.0) is None
        await kept.note_use("b.test", 30.0)
        assert await kept.stale(fetched_before=21.0, used_after=29.0, limit=5) == ["b.test"]
        assert await kept.stale(fetched_before=21.0, used_after=30.0, limit=5) == []
        assert [one.used for one in await kept.list("B.T", 5)] == [30.0]
        assert (await kept.expire(86420.0), await kept.forget("b.test")) == (1, 0)
        await database.close()

    asyncio.run(work())
