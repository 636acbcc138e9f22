"""What the pages on tables, commands, services and backends show works as shown."""

import asyncio
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mta.testing.memory import MemoryTables
from mta.testing.plugins import RecordingLog, host_with
from mta.testing.server import free_port

DOCS = Path(__file__).resolve().parents[3] / "docs/plugin-authors"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def module_of(code, name="newcomers", **names):
    module = ModuleType(name)
    vars(module).update(names)
    exec(compile(code, f"{name}.py", "exec"), vars(module))
    return module


def test_tables() -> None:
    first, second, test = blocks("tables.md")
    newcomers = module_of(first)
    shown = module_of(test, "shown", **{**vars(newcomers), "newcomers": newcomers, "__name__": "shown"})
    shown.test_senders_are_counted()

    tables = MemoryTables()
    later = module_of(first + second)

    async def upgrade():
        for module in (newcomers, later):
            host = host_with(module)
            host.services.tables = tables
            await host.migrate()
            assert host.failed == {}
        return await tables.read(later.METADATA_2.tables["newcomers_seen"].select())

    assert asyncio.run(upgrade()) == []
    assert [record.version for record in asyncio.run(tables.schemas())] == [2]


def test_commands() -> None:
    shown, test = blocks("commands.md")
    plugin = module_of(shown)
    module_of(test, "shown", newcomers=plugin.newcomers, plugin=plugin).test_show()
    host = host_with(plugin)
    context = host.plugins["newcomers"].context
    greeting = plugin.newcomers.commands["greet"].callback.__wrapped__(context, "a@b")
    asyncio.run(greeting)
    assert asyncio.run(context.kv.get("greeted a@b")) == b"yes"


def test_services() -> None:
    [code] = blocks("running.md")
    plugin = module_of(code)
    plugin.PORT = free_port()
    log = RecordingLog()
    host = host_with(plugin, log=log)

    async def work():
        host.start_services(single=True)
        while not log.named("newcomers.listening"):
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", plugin.PORT)
        assert await reader.read() == b"hello\n"
        writer.close()
        await host.stop_services(5.0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", plugin.PORT)

    asyncio.run(asyncio.wait_for(work(), 20))
    assert not log.named("plugin.service_hangs")


def suite():
    backend, suite = blocks("backends.md")
    return module_of(backend + suite, "fixed")


FIXED = suite()
elsewhere = FIXED.elsewhere


class TestFixed(FIXED.TestFixed): ...


def test_the_backend_of_the_page_is_offered() -> None:
    host = host_with(FIXED)
    assert host.backend("directory", "fixed") is FIXED.Fixed


def test_the_table_of_kinds_names_what_is_there() -> None:
    text = (DOCS / "backends.md").read_text("utf-8")
    offered = set()
    for plugin in ("mta_sql", "mta_zlib", "mta_unix", "mta_maildir"):
        host = host_with(importlib.import_module(plugin))
        offered |= {(kind, scheme) for p in host.plugins.values() for kind, scheme in p.offers.backends}
    for kind, scheme in offered:
        [row] = [line for line in text.splitlines() if f'| `"{kind}"` |' in line]
        assert re.search(rf"\b{scheme}\b", row), (kind, scheme)
    assert sys.modules["mta_sql"]
