"""``mta mailbox reindex`` over a real database, with and without a user."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mta.cli.main import cli
from mta.model.address import Address
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.wire.mime.searchable import fold
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql import open_database, open_search

CONFIG = "hostname: mx.example.test\ndata_dir: ./var\nuser: ''\nplugins:\n  sql: {}\n"
WORD = b"Subject: needle\r\n\r\nhay\r\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "mta.yaml"
    file.write_text(CONFIG)

    async def fill() -> None:
        options = DatabaseOptions(str(tmp_path / "var"), reserve=0)
        database: Database = open_database("sqlite", options)
        await database.open()
        for name in ("alice", "bob"):
            [user] = await database.directory.add_users([(Address(name, "example.test"), "hash")])
            inbox = await database.store.mailbox(user.id, "INBOX")
            for _ in range(3):
                await database.store.append(inbox.id, [NewMessage(OctetContent(WORD), Flags(0), frozenset(), 0)])
        await database.close()

    asyncio.run(fill())
    return file


def run(config: Path, *words: str, status: int = 0) -> str:
    result = CliRunner().invoke(cli, ["--config", str(config), "mailbox", "reindex", *words], catch_exceptions=True)
    if status == 0:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert result.exception is not None
    return result.stdout


def indexed(config: Path) -> tuple[int, list[int]]:
    async def look() -> tuple[int, list[int]]:
        options = DatabaseOptions(str(config.parent / "var"), reserve=0)
        database: Any = open_database("sqlite", options)
        await database.open()
        search = open_search("sql", database, options)
        await search.open()
        found = await search.candidates(fold("needle"), range(1, 100))
        assert found is not None
        await search.close()
        await database.close()
        return found.position, sorted(found.unsure)

    return asyncio.run(look())


def test_everything(config: Path) -> None:
    assert json.loads(run(config, "--json")) == {"indexed": 6}
    position, found = indexed(config)
    assert len(found) == 6
    assert position >= max(found)
    assert run(config) == "indexed: 6\n"  # and again


def test_one_account(config: Path) -> None:
    assert json.loads(run(config, "alice@example.test", "--json")) == {"indexed": 3, "account": "alice@example.test"}
    position, found = indexed(config)
    assert position == 0  # the rest is still to come
    assert len(found) == 3


def test_refusals(config: Path) -> None:
    run(config, "nobody@example.test", status=1)
    config.write_text(CONFIG + "storage: {search: none}\n")
    run(config, status=1)
    config.write_text(CONFIG + "storage: {search: 'elsewhere:x'}\n")
    run(config, status=1)
