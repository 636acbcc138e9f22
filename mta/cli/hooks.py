"""``mta hooks``."""
# SPDX-License-Identifier: Apache-2.0

import click

from mta.cli.access import host_of, loaded
from mta.cli.hooks_dead import dead, discard
from mta.cli.hooks_replay import replay
from mta.cli.hooks_try import run
from mta.cli.output import json_option, show
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.host import HookHost
from mta.pluginhost.specs import SPECS

_STAGES = {
    f"message_{name}": f"{number} {name}" for number, name in enumerate(("authenticate", "check", "verdict", "modify", "sign"), 1)
}


@click.group()
def hooks() -> None:
    """Hooks: the places where plugins are asked. docs/hooks has a page for each.

    Example: mta hooks order smtp_rcpt
    """


def _host(ctx: click.Context) -> HookHost:
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()
    return host


@hooks.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List every hook, its mode and who implements it.

    Example: mta hooks list
    """
    host = _host(ctx)
    rows = [
        {
            "hook": name,
            "mode": spec.mode,
            "plugins": [p for p, _ in host.order(name)] if as_json else " ".join(p for p, _ in host.order(name)),
        }
        for name, spec in SPECS.items()
    ]
    show(rows, ("hook", "mode", "plugins"), as_json)


@hooks.command()
@click.argument("hook", required=False)
@json_option
@click.pass_context
def order(ctx: click.Context, hook: str | None, as_json: bool) -> None:
    """Print the order in which plugins are asked, and the reason of each place.

    Example: mta hooks order message_check
    """
    if hook is not None and hook not in SPECS:
        raise click.ClickException(f"no hook {hook}; mta hooks list shows them")
    host = _host(ctx)
    rows = [
        {"hook": name, "stage": _STAGES.get(name, ""), "place": place, "plugin": plugin, "reason": reason}
        for name in ([hook] if hook else SPECS)
        for place, (plugin, reason) in enumerate(host.order(name), 1)
    ]
    show(rows, ("hook", "stage", "place", "plugin", "reason"), as_json)
    for name in sorted(_unknown(host, hook)):
        click.echo(f"order: {name} does not run here, and is passed over", err=True)


def _unknown(host: HookHost, hook: str | None) -> set[str]:
    """What the administrator's order names and nobody is called."""
    known = {name for plugin in host.plugins.values() for name in plugin.known_as}
    return {name for one, order in host.orders.items() if hook in (None, one) for name in order.names} - known


hooks.add_command(dead)
hooks.add_command(discard)
hooks.add_command(run)
hooks.add_command(replay)
