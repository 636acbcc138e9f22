"""How commands reach the data: the database directly, whether the server runs or not, then a word on the bus."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from unicodedata import normalize

import click

from mta.app.backends import make_database
from mta.app.bus import Topic, tell
from mta.app.places import Places
from mta.app.privileges import Account, account_of
from mta.config.load import LoadedConfig, load
from mta.model.address import Address
from mta.model.errors import ConfigError
from mta.model.ids import MailboxId
from mta.net.clock import SystemClock
from mta.obs import log as obs_log
from mta.obs.log import Log
from mta.pluginhost import environment
from mta.pluginhost.context import Services
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database, DatabaseOptions

T = TypeVar("T")


def loaded(ctx: click.Context) -> LoadedConfig:
    """The config named on the command line. Raises ConfigError with every problem."""
    return load(ctx.find_root().obj)


def host_of(config: LoadedConfig) -> HookHost:
    """The plugins of the config, those of the plugin environment included, loaded but not started."""
    obs_log.configure("error")
    environment.use(config.config.data_dir)
    host = HookHost(Services(config.config.hostname, SystemClock(), Log()))
    host.load(config.config.plugins, config.where, order=config.config.order)
    return host


@asynccontextmanager
async def database(config: LoadedConfig, host: HookHost | None = None) -> AsyncIterator[Database]:
    """The open database; made when it is not there yet. ``host``: where the plugins are loaded already."""
    settings = config.config
    places = Places(settings.data_dir)
    account = account_of(settings.user)
    try:
        places.prepare(account)
    except OSError as exc:
        fix = "run the command as root or as the server's user, or name another folder."
        raise config.mistake("data_dir", f"{exc.filename or settings.data_dir}: {exc.strerror}", fix) from exc
    host = host or host_of(config)
    changed: dict[MailboxId, None] = {}
    options = DatabaseOptions(
        data_dir=settings.data_dir,
        changed=lambda ids: changed.update(dict.fromkeys(ids)),
        durable_hooks=host.durable,
        mailbox_events=host.mailbox_events,
        reserve=0,
    )
    opened = make_database(config, host, options)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()
        if changed:
            tell(places.bus, list(changed))
        if account is not None:
            _give_back(places, account)


def _give_back(places: Places, account: Account) -> None:
    """Files that this command made as root belong to the server's user."""
    for entry in places.data_dir.iterdir():
        if entry.is_file() and not entry.is_symlink() and entry.stat().st_uid == 0:
            os.chown(entry, account.uid, account.gid, follow_symlinks=False)


def with_database(ctx: click.Context, work: Callable[[Database], Awaitable[T]], topic: Topic | None = None) -> T:
    """Run ``work`` over the open database; then wake the running server with ``topic``."""
    config = loaded(ctx)

    async def run() -> T:
        async with database(config) as opened:
            return await work(opened)

    result = asyncio.run(run())
    if topic is not None:
        tell(Places(config.config.data_dir).bus, topic)
    return result


class AddressParam(click.ParamType[Address]):
    """``local@domain``."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(normalize("NFC", value))
        except ValueError as exc:
            self.fail(f"{value!r} is no mail address: {exc}", param, ctx)


ADDRESS = AddressParam()

__all__ = ["ADDRESS", "ConfigError", "database", "host_of", "loaded", "with_database"]
