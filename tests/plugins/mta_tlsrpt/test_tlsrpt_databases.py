"""What is kept, on the real databases."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.pluginhost.tables import OwnTables
from mta.testing.plugins import services_with
from mta_hooks.backends import DatabaseOptions, Schema
from mta_sql import open_database
from mta_tlsrpt.collect import METADATA, Key, Results


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()


def test_every_statement_works_on_both(url, tmp_path):
    async def work():
        database = open_database(url, DatabaseOptions(str(tmp_path), reserve=0))
        await database.open()
        schema = Schema(METADATA)
        await database.tables.migrate("tlsrpt", schema)
        results = Results(OwnTables("tlsrpt", schema, services_with(tables=database.tables)))
        good, bad = Key(7, "b.test", "[]", "", ""), Key(7, "b.test", "[]", "validation-failure", "[1]")
        await results.add({good: 3})
        await results.add({good: 2, bad: 1, good._replace(day=8): 1})
        assert await results.of(7, "b.test") == [(good, 5), (bad, 1)]
        assert await results.waiting(8) == [(7, "b.test")]
        await results.forget(7, "b.test")
        assert await results.waiting(9) == [(8, "b.test")]
        await database.close()

    asyncio.run(work())
