"""``mta plugins``: what runs, and what could."""
# SPDX-License-Identifier: Apache-2.0

from importlib.metadata import entry_points
from typing import Any

import click

from mta.cli.access import host_of, loaded
from mta.cli.live import HOOK_COLUMNS, hook_rows, joined, live, plugins_of
from mta.cli.output import json_option, show, show_one
from mta.cli.plugins_doctor import check, doctor, load
from mta.cli.plugins_environment import install, sync, uninstall
from mta.cli.plugins_listed import disable, enable, enter
from mta.cli.plugins_new import new
from mta.cli.plugins_tables import kept_tables, tell_of_tables
from mta.config.load import LoadedConfig
from mta.config.safe import GROUP
from mta.model.errors import ConfigError
from mta.pluginhost.check import PluginRefused, implementations, nearest
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.load import find, imported
from mta.pluginhost.look import Look, looks
from mta.pluginhost.plugin import HostOptions
from mta.pluginhost.sample import sample
from mta_hooks import API


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """What plugins the config runs; third-party ones: new, install, enable. Without a sub-command: list.

    Example: mta plugins
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=False)


for command in (new, install, uninstall, sync, enable, disable, check, doctor):
    plugins.add_command(command)


@plugins.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List plugins in the order of the config, drop-in hooks after them, with what they implement and why one does not run.

    While the server runs: health, calls, errors and time as its workers count them; with --json by hook. Last come those that are
    installed and not listed, with the state "off", and those that left tables in the database, with the state "gone".

    Example: mta plugins list --json
    """
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()
    rows: list[dict[str, Any]] = [
        {
            "name": p.name,
            "kind": p.kind,
            "state": p.state,
            "version": p.version,
            "required": p.required,
            "hooks": [h.hook for h in p.hooks] if as_json else " ".join(h.hook for h in p.hooks),
            "reason": p.reason,
            "path": p.path,
        }
        for p in host.health()
    ]
    columns: tuple[str, ...] = ("name", "kind", "state", "version", "hooks", "reason")
    if (answer := live(config)) is not None:
        rows = joined(rows, plugins_of(config, answer), as_json)
        columns = ("name", "kind", "state", "version", "calls", "errors", "seconds", "hooks", "reason")
    listed = {row["name"] for row in rows}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        if entry.name not in listed:
            version = entry.dist.version if entry.dist else ""
            rows.append({"name": entry.name, "kind": "package", "state": "off", "version": version, "required": False})
            rows[-1] |= {"hooks": [] if as_json else "", "reason": "not listed in the config", "path": ""}
    tell_of_tables(rows, kept_tables(config, host), as_json)
    show(rows, columns, as_json)


@plugins.command()
@click.argument("name")
@json_option
@click.pass_context
def info(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one installed plugin: version, author, hooks, API, what it asks for, and whether it loads.

    While the server runs also its health, and calls, errors and time of each hook, job and route.

    Example: mta plugins info greylist
    """
    config = loaded(ctx)
    look = _look(config, name)
    section = config.config.plugins.get(name)
    state, path = "loads" if section is not None else "loads, not listed", ""
    hooks = look.hooks
    try:
        plugin = load(config, name, section)
        hooks, path = sorted({hook for hook, _ in implementations(plugin.object)} - {"register"}), plugin.path
    except PluginRefused as exc:
        state, path = f"does not load: {exc.problem}", f"{exc.file}:{exc.line}" if exc.file else ""
    except ConfigError as exc:
        state = f"does not load: {exc.key}: {exc.problem}"
    values = {
        "name": name,
        "distribution": look.distribution,
        "version": look.version,
        "author": look.author,
        "summary": look.summary,
        "api": look.api or "any",
        "server_api": API,
        "hooks": hooks if as_json else " ".join(hooks),
        "asks_for": look.uses if as_json else ", ".join(look.uses),
        "permissions": look.permissions() if as_json else ", ".join(look.permissions()),
        "brings": look.offers if as_json else ", ".join(look.offers),
        "listed": section is not None if as_json else config.where(f"plugins.{name}") if section is not None else "no",
        "state": state,
        "path": path,
    }
    answer = live(config)
    now = None if answer is None else plugins_of(config, answer).get(name)
    if now is not None:
        values["health"] = f"{now['state']}: {now['reason']}" if now["reason"] else now["state"]
        if as_json:
            values["by_hook"] = now["hooks"]
    show_one(values, as_json)
    if now is not None and not as_json:
        click.echo()
        show(hook_rows(now), HOOK_COLUMNS, False)


@plugins.command("config")
@click.argument("name")
@click.pass_context
def config_(ctx: click.Context, name: str) -> None:
    """Print a sample of an installed plugin's section: each key with its meaning, bounds and default, commented out.

    Example: mta plugins config greylist
    """
    config = loaded(ctx)
    _look(config, name)
    try:
        model = imported(name, 0, HostOptions(), find).offers.model
    except PluginRefused as exc:
        raise config.mistake(f"plugins.{name}", exc.problem, f"see {exc.file}:{exc.line}." if exc.file else "") from exc
    click.echo(sample(name, model), nl=False)


def _look(config: LoadedConfig, name: str) -> Look:
    if problem := enter(config):
        click.echo(f"mta: {problem}", err=True)
    known = {e.name: e for e in entry_points(group=GROUP)}
    entry = known.get(name)
    if entry is None or entry.dist is None:
        raise click.UsageError(f"{name} is not installed{nearest(name, known)}; installed are {', '.join(sorted(known))}")
    return next(look for look in looks(entry.dist) if look.name == name)
