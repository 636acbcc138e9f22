"""Backends by URL scheme, through the real config: a third party's database, blobs and accounts."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mta.app.backends import make_database, open_accounts
from mta.config.load import InvalidConfig, LoadedConfig, loads
from mta.config.safe import GROUP
from mta.model.errors import ConfigError
from mta.pluginhost.host import HookHost
from mta.testing.conformance import append, arrive, intake
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import services_with
from mta_hooks import Address, hookimpl
from mta_hooks.backends import AccountsOptions, DatabaseOptions
from mta_hooks.services import Registry
from mta_unix.accounts import UnixAccounts
from mta_zlib.blobs import ZlibBlobs


@pytest.fixture
def thirds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A third party's package: the database of mta.testing, offered by the scheme ``memory``."""
    module = ModuleType("third_memory")
    module.given = []  # type: ignore[attr-defined]

    def open_memory(url: str, options: DatabaseOptions) -> MemoryDatabase:
        module.given.append((url, options))  # type: ignore[attr-defined]
        return MemoryDatabase(options)

    @hookimpl
    def register(registry: Registry) -> None:
        registry.backend("database", "memory", open_memory)

    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third_memory", module)
    return module


def host_of(text: str, folder: Path) -> tuple[LoadedConfig, HookHost]:
    loaded = loads(f"hostname: mx.example.test\ndata_dir: {folder}\n{text}", str(folder / "mta.yaml"))
    entries = {"memory": "third_memory", "sql": "mta_sql", "zlib": "mta_zlib", "unix": "mta_unix"}
    host = HookHost(services_with())
    host.load(loaded.config.plugins, loaded.where, lambda name: [EntryPoint(name, entries[name], GROUP)])
    return loaded, host


def test_a_third_party_brings_the_database(thirds: ModuleType, tmp_path: Path) -> None:
    loaded, host = host_of("database: memory:here\nplugins: [memory]\n", tmp_path)
    options = DatabaseOptions(str(tmp_path), reserve=0)

    async def work() -> None:
        database = make_database(loaded, host, options)
        await database.open()
        user, inbox = await arrive(database)
        await append(database, inbox, 2)
        await database.spool.accept(intake(user, queued=["far@dest.test"]))
        assert (await database.store.status(inbox.id)).messages == 3
        assert await database.queue.count() == 1
        await database.close()

    asyncio.run(work())
    [(url, given)] = thirds.given
    assert (url, given.data_dir) == ("memory:here", str(tmp_path))
    assert host.plugins["memory"].required  # a server without its database must not start


def test_blobs_by_scheme_the_first_for_new_ones(tmp_path: Path) -> None:
    loaded, host = host_of("plugins: [sql, zlib]\nstorage: {blobs: ['zlib:/z', 'file:old']}\n", tmp_path)
    seen: list[Any] = []
    host.plugins["sql"].offers.backends["database", "sqlite"] = lambda url, options: seen.append((url, options))
    make_database(loaded, host, DatabaseOptions(str(tmp_path)))
    [(url, options)] = seen
    assert url == "sqlite"
    assert isinstance(options.blobs[0], ZlibBlobs)
    assert options.blobs[1].folder == tmp_path / "old"


def test_accounts_by_scheme(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("carol:x:1000:1000::/:/bin/sh\n")
    loaded, host = host_of(f"plugins: [sql, unix]\ndirectory: 'unix:{tmp_path}/passwd'\ndomains: [a.test]\n", tmp_path)

    async def work() -> None:
        [accounts] = await open_accounts(loaded, host)
        assert isinstance(accounts, UnixAccounts)
        assert await accounts.account(Address("carol", "a.test")) is not None
        await accounts.close()

    asyncio.run(work())
    assert AccountsOptions("", "").domains == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "plugins: [sql]\nstorage: {blobs: 's3:bucket'}\n",
            r"mta.yaml:4: storage.blobs: no plugin offers the blob backend s3.*one of: file",
        ),
        ("plugins: [sql, zlib]\nstorage: {blobs: 'zip:x'}\n", r"blob backend zip.*one of: file, zlib"),
        ("plugins: [sql, unix]\ndirectory: 'ldap://x'\n", r"mta.yaml:4: directory: .*directory backend ldap.*one of: unix"),
        ("plugins: [sql]\ndatabase: mysql://x\n", r"database backend mysql.*one of: postgresql, sqlite"),
    ],
)
def test_a_scheme_that_nobody_offers_names_those_that_are(text: str, problem: str, tmp_path: Path) -> None:
    loaded, host = host_of(text, tmp_path)

    async def work() -> None:
        make_database(loaded, host, DatabaseOptions(str(tmp_path)))
        await open_accounts(loaded, host)

    with pytest.raises(ConfigError, match=rf"(?s){problem}"):
        asyncio.run(work())


def test_what_is_no_url_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"mta.yaml:3: storage\.blobs.*names no backend"):
        host_of("storage: {blobs: /var/blobs}\n", tmp_path)
