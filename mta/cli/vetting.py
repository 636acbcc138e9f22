"""Commands that change accounts: the ``user_change`` hooks of the config's plugins and drop-in hooks are asked first."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from mta.app.bus import tell
from mta.app.places import Places
from mta.cli.access import database, host_of, loaded
from mta.model.address import Address
from mta.model.errors import Refused, TemporaryFailure
from mta.model.verdict import Action
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database
from mta_hooks.views import UserChange

T = TypeVar("T")


class Vet:
    """Asks about one change; nothing of a command may be written before all its changes were asked about."""

    def __init__(self, host: HookHost) -> None:
        self._host = host

    async def __call__(self, user: Address, change: UserChange) -> None:
        """Raises Refused, exit status 77, or TemporaryFailure, 75, with the plugin's words and name."""
        if (plan := self._host.user_change) is None:
            return
        decision = await plan.verdict(user=str(user), change=change)
        verdict = decision.verdict
        if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
            return
        text = f"{user}: {verdict.text or 'not allowed'} (says plugin {decision.plugin}); nothing was changed"
        if verdict.action is Action.DEFER:
            raise TemporaryFailure(text)
        raise Refused(verdict.reply(), text)


def change_users(ctx: click.Context, work: Callable[[Database, Vet], Awaitable[T]]) -> T:
    """Run ``work`` over the open database; then tell the running server that the directory has changed."""
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()

    async def run() -> T:
        tasks = Tasks(Log())
        async with database(config, host) as opened:
            host.services.kv, host.services.tables = opened.kv, opened.tables
            await host.migrate(config.where)
            host.start(tasks, jobs=False)
            try:
                return await work(opened, Vet(host))
            finally:
                host.stop()
                await tasks.close()

    result = asyncio.run(run())
    tell(Places(config.config.data_dir).bus, "directory")
    return result
