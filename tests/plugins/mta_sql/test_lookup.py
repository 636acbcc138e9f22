"""Tables by SQL: over the server's own database and one that a file in Postfix's form names; parameters, never pasted text."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.threads import Pool
from mta.testing.plugins import RecordingLog
from mta_hooks.lookup import TableOptions
from mta_sql import open_table


@pytest.fixture
def options(tmp_path: Path) -> TableOptions:
    with sqlite3.connect(tmp_path / "mta.db") as db:
        db.execute("CREATE TABLE names (key TEXT, value TEXT)")
        db.executemany(
            "INSERT INTO names VALUES (?, ?)", [("a@x.org", "b@y.org"), ("a@x.org", "c@y.org"), ("o'brien@x.org", "d@y.org")]
        )
    return TableOptions(str(tmp_path), "sqlite", Pool("test"), RecordingLog())


def test_own_database(options: TableOptions) -> None:
    table = open_table("sql:SELECT value FROM names WHERE key = :key ORDER BY value", options)

    async def run() -> None:
        await table.open()
        assert await table.get("a@x.org") == "b@y.org,c@y.org"
        assert await table.get("o'brien@x.org") == "d@y.org"
        assert await table.get("' OR 1=1 --") is None

    asyncio.run(run())


def test_a_file_of_postfix(options: TableOptions, tmp_path: Path) -> None:
    path = tmp_path / "names.cf"
    path.write_text(
        f"# comment\nurl = sqlite:///{tmp_path}/mta.db\nquery = SELECT value FROM names\n  WHERE key = '%u@%d'\nresult_format = smtp:[%s]\ndomain = x.org, z.org\n"
    )
    table = open_table(f"sql:{path}", options)

    async def run() -> None:
        assert await table.get("o'brien@x.org") == "smtp:[d@y.org]"
        assert await table.get("a@other.org") is None
        assert await table.get("x.org") is None

    asyncio.run(run())


def test_sqlite_of_postfix(options: TableOptions, tmp_path: Path) -> None:
    path = tmp_path / "names.cf"
    path.write_text(
        f"dbpath = {tmp_path}/mta.db\nquery = SELECT value FROM names WHERE key='%s' AND key LIKE '%%@%d' ORDER BY value\n"
    )
    table = open_table(f"sqlite:{path}", options)
    assert asyncio.run(table.get("a@x.org")) == "b@y.org,c@y.org"


def test_mistakes(options: TableOptions, tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(ConfigError, match="is no SELECT"):
            await open_table("sql:DELETE FROM names", options).open()
        (tmp_path / "bad.cf").write_text("query = SELECT 1\nnonsense = 2\n")
        with pytest.raises(ConfigError, match=r"bad\.cf:2: nonsense"):
            await open_table(f"sql:{tmp_path}/bad.cf", options).open()
        with pytest.raises(TemporaryFailure, match="no such table"):
            await open_table("sql:SELECT a FROM missing WHERE k = :key", options).get("x")
        with pytest.raises(TemporaryFailure):
            await open_table("sql:WITH t AS (SELECT 1) INSERT INTO names VALUES (:key, 'x')", options).get("x")

    asyncio.run(run())
