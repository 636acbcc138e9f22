"""``mta hooks replay``: stored mail through another plugin (``hooks_try``), or dead notifications called again (``hooks_dead``)."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import click

from mta.cli.access import ADDRESS
from mta.cli.hooks_dead import replay_dead, require_choice
from mta.cli.hooks_try import backtest
from mta.cli.output import json_option
from mta.cli.period import WHEN


@click.command("replay")
@click.argument("ids", nargs=-1, type=int)
@click.option("--with", "tried", metavar="PLUGIN|FILE.py", help="Try this plugin, or drop-in hook, on stored mail.")
@click.option("--since", type=WHEN, default="7d", show_default=True, help="With --with: mail not older than 2h, 7d, 2026-11-01.")
@click.option("--from", "sender", type=ADDRESS, help="With --with: only mail of this sender.")
@click.option("--to", "recipient", type=ADDRESS, help="With --with: only mail to this recipient.")
@click.option("--dns", is_flag=True, help="With --with: let plugins look up names; without it every look-up fails.")
@click.option("--limit", default=1000, show_default=True, help="With --with: stop after so many differences.")
@click.option("--dead", is_flag=True, help="All notifications that were given up.")
@click.option("--outbox", type=int, multiple=True, metavar="ID", help="This dead notification; the same as naming it alone.")
@click.option("--hook", default="", help="Of the dead ones, those of this hook.")
@click.option("--plugin", default="", help="Of the dead ones, those of this plugin.")
@json_option
@click.pass_context
def replay(ctx: click.Context, /, ids: tuple[int, ...], tried: str | None, as_json: bool, **given: Any) -> None:
    """Try a plugin on stored mail, or call notifications again that were given up.

    With --with, mail that is stored goes through the server once more, nothing is stored and nothing is sent; listed is what would
    differ: for a plugin that the config has, from what the trace says it did then; for a new one, or a file, from what the config does
    now.

    With ids as mta hooks dead shows them, or --dead, --hook, --plugin, notifications are called at least once more, by the server.

    Example: mta hooks replay --since 7d --with ./guard.py
    """
    if tried is not None:
        backtest(ctx, tried, as_json, given)
        return
    ids = (*ids, *given["outbox"])
    if not (ids or given["dead"] or given["hook"] or given["plugin"]):
        raise click.UsageError("give --with PLUGIN or FILE.py to try it on stored mail; or ids, --dead, --hook or --plugin.")
    require_choice(ids, given["hook"], given["plugin"], given["dead"])
    replay_dead(ctx, ids, given["hook"], given["plugin"])
