"""Which backends the config asks for by URL scheme, and their making: ``database``, ``storage.blobs``, ``directory``."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Iterator
from dataclasses import replace

from mta.app.apart import apart
from mta.config.load import LoadedConfig
from mta.config.sections import Config
from mta.lookup.opened import Lookups
from mta.model.errors import ConfigError
from mta.pluginhost.host import HookHost
from mta.pluginhost.threads import Pool
from mta_hooks.backends import Accounts, AccountsOptions, Blobs, Database, DatabaseOptions
from mta_hooks.lookup import TableBackend, TableOptions

IN_DATABASE = "database"


def scheme_of(url: str) -> str:
    return url.partition(":")[0]


def wanted(config: Config) -> Iterator[tuple[str, str]]:
    """(kind, scheme) of what has to be there before the database can be opened."""
    yield "database", scheme_of(config.database)
    for url in config.storage.blobs:
        yield "blob", scheme_of(url)
    if config.storage.mailboxes != IN_DATABASE:
        yield "store", scheme_of(config.storage.mailboxes)


def make_lookups(loaded: LoadedConfig, host: HookHost) -> Lookups:
    """The tables that the config and its plugins may name; none is read yet."""
    config, services = loaded.config, host.services

    def backend(scheme: str) -> Callable[[str, TableOptions], TableBackend] | None:
        return host.backend("table", scheme) if host.brings("table", scheme) else None

    options = TableOptions(config.data_dir, config.database, Pool("tables"), services.log)
    return Lookups(options, config.tables, backend, loaded.where)


async def open_accounts(loaded: LoadedConfig, host: HookHost) -> list[Accounts]:
    """The directories that ``directory`` names, open. Raises ConfigError."""
    config = loaded.config
    options = AccountsOptions(config.data_dir, config.hostname, config.domains)
    made: list[Accounts] = []
    try:
        for url in config.directory:
            made.append(host.backend("directory", scheme_of(url))(url, options))
            await made[-1].open()
    except ConfigError as exc:
        raise loaded.mistake("directory", exc.problem, exc.fix) from exc
    return made


def make_database(loaded: LoadedConfig, host: HookHost, options: DatabaseOptions) -> Database:
    """The backend that the scheme of ``database`` names, with its blobs, not yet open. Raises ConfigError."""
    url = loaded.config.database
    factory = host.backend("database", scheme_of(url))
    try:
        blobs: list[Blobs] = [host.backend("blob", scheme_of(one))(one, options) for one in loaded.config.storage.blobs]
    except ConfigError as exc:
        raise loaded.mistake("storage.blobs", exc.problem, exc.fix) from exc
    made: Database = factory(url, replace(options, blobs=tuple(blobs)))
    store = loaded.config.storage.mailboxes
    if store == IN_DATABASE:
        return made
    make = host.backend("store", scheme_of(store))
    return apart(made, options, lambda more: make(store, more), loaded.where("storage.mailboxes"))
