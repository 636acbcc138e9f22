"""``mta hooks dead``, ``discard``, and what ``mta hooks replay --dead`` does: durable notifications that were given up.

A dead letter is an outbox row whose plugin failed it in all its attempts, or killed the worker with it.
"""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Sequence
from typing import Any

import click

from mta.cli.access import with_database
from mta.cli.output import json_option, show, stamp
from mta_hooks.backends.database import Database, OutboxRow

MOST = 100_000


@click.command("dead")
@click.option("--hook", default="", help="Of this hook only.")
@click.option("--plugin", default="", help="Of this plugin only.")
@click.option("--limit", default=1000, show_default=True, help="Most rows shown.")
@json_option
@click.pass_context
def dead(ctx: click.Context, hook: str, plugin: str, limit: int, as_json: bool) -> None:
    """List notifications that were given up: their plugin failed them again and again.

    Example: mta hooks dead --plugin webhook
    """
    rows = with_database(ctx, lambda db: _chosen(db, (), hook, plugin))
    show([_shown(row, as_json) for row in rows[:limit]], ("id", "hook", "plugin", "attempts", "since", "about", "error"), as_json)


@click.command("discard")
@click.argument("ids", nargs=-1, type=int)
@click.option("--hook", default="", help="Of this hook only.")
@click.option("--plugin", default="", help="Of this plugin only.")
@click.option("--all", "everything", is_flag=True, help="All that mta hooks dead shows.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def discard(ctx: click.Context, ids: tuple[int, ...], hook: str, plugin: str, everything: bool, yes: bool) -> None:
    """Remove notifications that were given up. Nobody is told of them any more.

    Example: mta hooks discard 1204 1207 --yes
    """
    require_choice(ids, hook, plugin, everything)
    if not yes:
        click.confirm("Remove them for good?", abort=True)

    async def work(db: Database) -> int:
        return await db.outbox.discard([row.row for row in await _chosen(db, ids, hook, plugin)])

    _say(with_database(ctx, work), "removed")


def replay_dead(ctx: click.Context, ids: Sequence[int], hook: str = "", plugin: str = "") -> None:
    """Put dead letters back into the outbox, where they are called at least once; no ids: all."""

    async def work(db: Database) -> int:
        return await db.outbox.replay([row.row for row in await _chosen(db, ids, hook, plugin)], now=time.time())

    _say(with_database(ctx, work, "outbox"), "will be called again")


def require_choice(ids: Sequence[int], hook: str, plugin: str, everything: bool) -> None:
    """Rows must be chosen on purpose. Raises UsageError."""
    if not (ids or hook or plugin or everything):
        raise click.UsageError("name ids as mta hooks dead shows them, --hook, --plugin, or --all")


async def _chosen(db: Database, ids: Sequence[int], hook: str, plugin: str) -> list[OutboxRow]:
    rows = await db.outbox.list(dead=True, rows=ids, limit=MOST)
    return [row for row in rows if (not hook or row.hook == hook) and (not plugin or row.plugin == plugin)]


def _shown(row: OutboxRow, as_json: bool) -> dict[str, Any]:
    values: dict[str, Any] = {"id": row.row, "hook": row.hook, "plugin": row.plugin, "attempts": row.attempts, "error": row.error}
    if as_json:
        return {**values, "made": row.made, "payload": row.payload}
    return {**values, "since": stamp(row.made), "about": about(row)}


def about(row: OutboxRow) -> str:
    """The message or mailbox that it tells of."""
    payload = row.payload
    message = payload.get("message")
    return str(payload.get("id") or payload.get("mailbox") or (message.get("id") if isinstance(message, dict) else "") or "")


def _say(count: int, done: str) -> None:
    click.echo(f"{count} notification{'' if count == 1 else 's'} {done}")
