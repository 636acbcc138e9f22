"""``mta plugins enable`` and ``disable``: the config's list."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import click
import yaml

from mta.cli.access import host_of, loaded
from mta.cli.plugins_environment import agree, yes_option
from mta.config import edit
from mta.config.load import LoadedConfig, loads
from mta.config.safe import GROUP
from mta.pluginhost import environment
from mta.pluginhost.check import nearest
from mta.pluginhost.look import looks


@click.command()
@click.argument("name")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of its section; VALUE is YAML.")
@yes_option
@click.pass_context
def enable(ctx: click.Context, name: str, settings: tuple[str, ...], yes: bool) -> None:
    """List an installed plugin in the config file, which otherwise stays as it is; the old file is kept as FILE.bak.

    Shows what the plugin hooks and asks for, asks, and tries to load it first: a config that does not work is not written.

    Example: mta plugins enable greylist --set delay=600
    """
    config = loaded(ctx)
    if name in config.config.plugins:
        click.echo(f"{config.where(f'plugins.{name}')}: {name} is listed already")
        return
    _show(config, name)
    text = _text(config.file)
    new = edit.enable(text, config.file, name, _settings(settings))
    agree(yes, f"Let {name} run in the server?")
    tried = loads(new, config.file)
    if failed := host_of(tried).failed.get(name):
        place = f" ({failed.file}:{failed.line})" if failed.file else ""
        raise config.mistake("plugins", f"{name} does not load: {failed.reason}{place}", "nothing was changed.")
    copy = edit.write(config.file, new)
    click.echo(f"{tried.where(f'plugins.{name}')}: {name} is listed; the file before is {copy}. Next: mta reload")


@click.command()
@click.argument("name")
@click.pass_context
def disable(ctx: click.Context, name: str) -> None:
    """Take a plugin off the list. Its lines are kept as comments (#~) and come back with enable; the old file is FILE.bak.

    Example: mta plugins disable greylist
    """
    config = loaded(ctx)
    if name not in config.config.plugins:
        click.echo(f"{config.file}: {name} is not listed")
        return
    new = edit.disable(_text(config.file), config.file, name)
    loads(new, config.file)
    copy = edit.write(config.file, new)
    click.echo(f"{config.file}: {name} is off; the file before is {copy}. Next: mta reload")


def _show(config: LoadedConfig, name: str) -> None:
    """Raises UsageError when it is not installed."""
    if problem := enter(config):
        click.echo(f"mta: {problem}", err=True)
    found = [e for e in entry_points(group=GROUP) if e.name == name]
    if not found:
        known = sorted({e.name for e in entry_points(group=GROUP)})
        raise click.UsageError(f"{name} is not installed{nearest(name, known)}; installed are {', '.join(known)}")
    for entry in found:
        for look in looks(entry.dist) if entry.dist else ():
            if look.name == name:
                click.echo("\n".join(look.lines()))


def enter(config: LoadedConfig) -> str:
    """Make what is installed visible to this process. Returns why not, or ""."""
    environment.use(config.config.data_dir)
    return environment.enter()


def _settings(given: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        try:
            out[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise click.UsageError(f"--set {text}: {value!r} is not YAML") from exc
        if not equals or not key.strip():
            raise click.UsageError(f"--set {text}: write it as KEY=VALUE")
    return out


def _text(file: str) -> str:
    with open(file, encoding="utf-8", newline="") as stream:
        return stream.read()
