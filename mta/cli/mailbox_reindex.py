"""``mta mailbox reindex``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from typing import Any

import click

from mta.app.indexing import Indexer
from mta.app.searching import make_search
from mta.cli.access import ADDRESS, database, host_of, loaded
from mta.cli.output import json_option, progress, show_one
from mta.config.load import LoadedConfig
from mta.model.address import Address
from mta.model.errors import ConfigError, NoSuchUser
from mta.model.ids import BlobId, ModSeq
from mta.net.clock import SystemClock
from mta.obs.log import Log
from mta_hooks.backends.database import Database, DatabaseOptions
from mta_hooks.backends.search import Indexable


@click.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@click.pass_context
def reindex(ctx: click.Context, address: Address | None, as_json: bool) -> None:
    """Make the full-text index anew, of everything or of one account. The server may run: it reads what is not indexed yet.

    Example: mta mailbox reindex alice@example.org
    """
    show_one(asyncio.run(_reindex(loaded(ctx), address)), as_json)


async def _reindex(config: LoadedConfig, address: Address | None) -> dict[str, Any]:
    host = host_of(config)
    async with database(config, host) as db:
        search = make_search(config, host, db, DatabaseOptions(data_dir=config.config.data_dir))
        if search is None or not isinstance(db.store, Indexable):
            raise ConfigError(
                config.where("storage.search"), "storage.search", "there is no full-text index to make", "set it to sql."
            )
        await search.open()
        indexer = Indexer(store=db.store, search=search, clock=SystemClock(), log=Log())
        try:
            if address is not None:
                blobs = await _blobs_of(db, address)
                return {"indexed": await indexer.take(blobs, _bar()), "account": str(address)}
            await search.clear()
            return {"indexed": await indexer.catch_up(_bar())}
        finally:
            indexer.close()
            await search.close()


async def _blobs_of(db: Database, address: Address) -> list[BlobId]:
    user = await db.directory.user(address)
    if user is None:
        raise NoSuchUser(f"{address}: no such user; mta user list shows them")
    blobs: set[BlobId] = set()
    for box in await db.store.mailboxes(user.id):
        if box.exists:
            blobs.update(row.blob for row in (await db.store.changes(box.id, ModSeq(0))).rows)
    return sorted(blobs)


def _bar() -> Callable[[int, int], None]:
    bars: dict[str, Callable[[int], None]] = {}

    def tell(done: int, total: int) -> None:
        if "bar" not in bars:
            bars["bar"] = progress(total, "indexing")
        bars["bar"](done)

    return tell
