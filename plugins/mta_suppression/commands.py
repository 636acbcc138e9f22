"""``mta suppression``."""
# SPDX-License-Identifier: Apache-2.0

import json
import time
from typing import Any

import click

from mta_hooks import Address, Context
from mta_suppression.addresses import FOREVER, Addresses


class Entry(click.ParamType[str]):
    """A mail address, in lower case."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(Address.parse(value)).lower()
        except ValueError as exc:
            self.fail(f"{value!r} is no mail address: {exc}", param, ctx)


@click.group()
def suppression() -> None:
    """Addresses that are not written to, because mail to them bounced.

    Example: mta suppression list
    """


@suppression.command("list")
@click.argument("text", default="")
@click.option("--limit", default=1000, show_default=True, help="Most rows shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
@click.pass_obj
async def list_(ctx: Context, text: str, limit: int, as_json: bool) -> None:
    """List who is left out, newest first. TEXT: part of the address.

    Example: mta suppression list example.net --json
    """
    rows = [
        {
            "address": r.address,
            "by": r.made_by,
            "last": r.last,
            "until": None if r.until >= FOREVER else r.until,
            "reason": r.reason,
        }
        for r in await Addresses(ctx.db).list(text, ctx.clock.now(), limit)
    ]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        day = time.strftime("%Y-%m-%d", time.localtime(row["last"]))
        line = f"{day}  {row['address']}  {row['by']}  {row['reason']}"
        click.echo(line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line))


@suppression.command()
@click.argument("address", type=Entry())
@click.option("--reason", default="", help="Kept with it.")
@click.pass_obj
async def add(ctx: Context, address: str, reason: str) -> None:
    """Leave an address out until it is removed.

    Example: mta suppression add bob@example.net --reason "asked to be"
    """
    await Addresses(ctx.db).add(address, reason, ctx.clock.now())
    click.echo(f"{address} is not written to any more")


@suppression.command()
@click.argument("address", type=Entry())
@click.pass_obj
async def remove(ctx: Context, address: str) -> int:
    """Write to an address again, and forget what bounced. Exit status 67 when it is not known.

    Example: mta suppression remove bob@example.net
    """
    count = await Addresses(ctx.db).remove(address)
    click.echo(f"{address} is written to again" if count else f"{address} is not on the list")
    return 0 if count else 67
