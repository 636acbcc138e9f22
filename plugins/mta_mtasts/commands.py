"""``mta mtasts``."""
# SPDX-License-Identifier: Apache-2.0

import datetime
import json

import click

from mta_hooks import Context
from mta_mtasts.cache import Cache


@click.group()
def mtasts() -> None:
    """Policies of other domains, as they are kept.

    Example: mta mtasts list
    """


@mtasts.command("list")
@click.argument("text", default="")
@click.option("--limit", default=1000, show_default=True, help="Most rows shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
@click.pass_obj
async def list_(ctx: Context, text: str, limit: int, as_json: bool) -> None:
    """List what is kept. TEXT: part of a domain.

    Example: mta mtasts list example.net --json
    """
    rows = [
        {"domain": kept.domain, "mode": kept.policy.mode, "mx": list(kept.policy.mx), "id": kept.id, "expires": kept.expires}
        for kept in await Cache(ctx.db).list(text, limit)
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        until = datetime.datetime.fromtimestamp(float(str(row["expires"])), datetime.UTC).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{row['domain']}  {row['mode']}  until {until}  {' '.join(map(str, row['mx']))}")  # type: ignore[call-overload]


@mtasts.command()
@click.argument("domain")
@click.pass_obj
async def forget(ctx: Context, domain: str) -> int:
    """Forget the policy of a domain: it is fetched anew when mail goes there. Exit status 67 when there is none.

    Example: mta mtasts forget example.net
    """
    count = await Cache(ctx.db).forget(domain.lower())
    click.echo(f"{count} {'policy' if count == 1 else 'policies'} forgotten")
    return 0 if count else 67
