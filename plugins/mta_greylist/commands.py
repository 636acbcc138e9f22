"""``mta greylist``."""
# SPDX-License-Identifier: Apache-2.0

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from mta_greylist.decide import entry_of
from mta_greylist.memory import Memory
from mta_hooks import Context

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
limit_option = click.option("--limit", default=1000, show_default=True, help="Most rows shown.")


class Entry(click.ParamType[str]):
    """Network, address, ``user@domain`` or ``@domain``."""

    name = "entry"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return entry_of(value)
        except ValueError as exc:
            self.fail(f"{value!r} is no network, no address and no @domain: {exc}", param, ctx)


@click.group()
def greylist() -> None:
    """Who has to come back, and who need not.

    Example: mta greylist list example.net
    """


@greylist.command("list")
@click.argument("text", default="")
@click.option("--allowed", is_flag=True, help="Those who need not come back instead of those who had to.")
@limit_option
@json_option
@click.pass_obj
async def list_(ctx: Context, text: str, allowed: bool, limit: int, as_json: bool) -> None:
    """List who was told to come back, newest first. TEXT: part of a network, sender or recipient.

    Example: mta greylist list example.net --json
    """
    memory = Memory(ctx.db)
    if allowed:
        rows = [{"entry": r.entry, "by": r.made_by, "last": r.last} for r in await memory.allowed(text, limit)]
    else:
        rows = [
            {
                "client": row.client,
                "sender": row.sender,
                "recipient": row.recipient,
                "state": "came back" if row.passes else "waits",
                "first": row.first,
                "last": row.last,
                "passes": row.passes,
            }
            for row in await memory.triplets(text, limit)
        ]
    _show(rows, as_json)


@greylist.command()
@click.argument("entry", type=Entry())
@click.pass_obj
async def allow(ctx: Context, entry: str) -> None:
    """Let a network, an address, a sender or a whole domain (@example.net) in at once, until it is forgotten.

    Example: mta greylist allow 192.0.2.0/24
    """
    await Memory(ctx.db).allow(entry, "operator", ctx.clock.now())
    click.echo(f"{entry} need not come back any more")


@greylist.command()
@click.argument("entry", type=Entry())
@click.pass_obj
async def forget(ctx: Context, entry: str) -> int:
    """Forget a network, a sender or a recipient: they are strangers again. Exit status 67 when it is not known.

    Example: mta greylist forget 192.0.2.0/24
    """
    count = await Memory(ctx.db).forget(entry)
    click.echo(f"{count} row{'' if count == 1 else 's'} forgotten")
    return 0 if count else 67


def _show(rows: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(list(rows), ensure_ascii=False, indent=1))
        return
    for row in rows:
        click.echo("  ".join(_cell(name, value) for name, value in row.items()))


def _cell(name: str, value: Any) -> str:
    if name in ("first", "last"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    text = str(value) if value != "" else "<>"
    return text if text.isprintable() else "?"
