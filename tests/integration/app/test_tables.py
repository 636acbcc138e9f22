"""Tables of the config as plugins get them: by name, by SQL over the server's own database, by a plugin's backend; mistakes by key."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mta.app.backends import make_lookups
from mta.app.rehearsal import Envelope, Rehearsal, look_on
from mta.config.load import load
from mta.model.address import Address
from mta.model.directory import Domain
from mta.model.errors import ConfigError
from mta.testing.plugins import host_with, plugin_of
from mta_hooks import hookimpl
from mta_hooks.backends import DatabaseOptions
from mta_hooks.lookup import TableOptions
from mta_sql import open_database

CONFIG = """
hostname: mx.example.test
data_dir: {folder}
tables:
  people: {{sales@example.test: alice@example.test}}
  both: [people, "sql:SELECT local || '@elsewhere.test' FROM users WHERE local || '@' || domain = :key"]
plugins:
  sql: {{}}
  virtual: {{required: true, aliases: {aliases}, relocated: {{old@example.test: new@example.test}}}}
"""


def run(folder: Path, work: Callable[[Rehearsal], Awaitable[Any]], aliases: str = "both") -> Any:
    file = folder / "mta.yaml"
    file.write_text(CONFIG.format(folder=folder, aliases=aliases))
    loaded = load(str(file))

    async def main() -> Any:
        database = open_database("sqlite", DatabaseOptions(str(folder)))
        await database.open()
        await database.directory.add_domain(Domain("example.test"))
        await database.directory.add_users([(Address(name, "example.test"), "x") for name in ("alice", "bob")])
        await database.close()
        rehearsal = Rehearsal(loaded)
        rehearsal.load()
        async with look_on(loaded, rehearsal.hooks) as opened:
            await rehearsal.open(opened)
            try:
                return await work(rehearsal)
            finally:
                await rehearsal.close()

    return asyncio.run(main())


def test_names_and_the_server_s_own_database(tmp_path: Path) -> None:
    async def work(r: Rehearsal) -> Any:
        found = [await r.resolver.resolve(Address(name, "example.test")) for name in ("sales", "bob", "nobody")]
        moved = await r.run(Envelope("x@y.test", ["old@example.test"]), b"Subject: x\r\n\r\nx\r\n")
        return found, moved

    (sales, bob, nobody), moved = run(tmp_path, work)
    assert list(map(str, sales.remote)) == ["alice@elsewhere.test"]
    assert list(map(str, bob.remote)) == ["bob@elsewhere.test"]
    assert nobody.refusal is not None
    assert "550 5.1.6 user has moved to new@example.test" in [reply for _, reply in moved.dialogue]


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ("hash:/nowhere/virtual", r"/nowhere/virtual: plugins\.virtual\.aliases: No such file"),
        ("unknown", r"plugins\.virtual\.aliases: there is no table named unknown.*one of: both, people"),
        ("odd:thing", r"plugins\.virtual\.aliases: no table has the type odd"),
        ("sql:DROP TABLE users", r"plugins\.virtual\.aliases: is no SELECT"),
    ],
)
def test_mistakes_name_the_key(tmp_path: Path, aliases: str, said: str) -> None:
    async def work(_: Rehearsal) -> None: ...

    with pytest.raises(ConfigError, match=said):
        run(tmp_path, work, f'"{aliases}"')


class Reversed:
    """``reversed:suffix``: a table of somebody else's."""

    patterns = False

    def __init__(self, source: str, options: TableOptions) -> None:
        self._suffix = source.partition(":")[2]

    async def open(self) -> None: ...

    async def get(self, key: str) -> str | None:
        return key[::-1] + self._suffix if key.islower() else None


@hookimpl
def register(registry: Any) -> None:
    registry.backend("table", "reversed", Reversed)


def test_a_backend_of_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "mta.yaml"
    file.write_text(f"data_dir: {tmp_path}\nhostname: mx.example.test\n")
    table = make_lookups(load(str(file)), host_with(plugin_of(register))).table(["reversed:!", {"ABC": "plain"}])
    assert asyncio.run(table.match(["ABC", "abc"])) == ("ABC", "plain")
    assert asyncio.run(table.get("abc")) == "cba!"
