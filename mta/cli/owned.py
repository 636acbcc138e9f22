"""``mta <plugin> …``: commands that plugins bring (``registry.cli``), each below its plugin's name.

The plugin alone is imported for them, and what brings the database once an ``async def`` callback runs; so no plugin can break the
commands of another. For the list in ``mta --help`` nothing is imported at all: the source says whether there is a command.
"""
# SPDX-License-Identifier: Apache-2.0

import ast
import os
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mta.config.load import LoadedConfig
    from mta.pluginhost.host import HookHost
    from mta.pluginhost.plugin import Plugin

_OURS = "mta.cli.owned"


@dataclass(frozen=True, slots=True)
class _Chosen:
    config: "LoadedConfig"
    host: "HookHost"
    plugin: "Plugin"


def listed(file: str | None) -> dict[str, str]:
    """Plugins of the config whose source offers a command, with the first line of their docstring. Empty for a config that cannot be read."""
    names, data_dir = _config(file)
    if not names:
        return {}
    from importlib.metadata import entry_points

    from mta.pluginhost import environment

    environment.use(data_dir)
    environment.enter()
    found = {entry.name: entry.module for entry in entry_points(group="mta.plugins") if entry.name in names}
    lines = {name: _described(found[name]) for name in names if name in found}
    return {name: line for name, line in lines.items() if line is not None}


def _config(file: str | None) -> tuple[list[str], str]:
    """Names of the plugins, in order, and the data folder, without what checking a config costs."""
    file = file or os.environ.get("MTA_CONFIG") or "/etc/mta/mta.yaml"
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, ValueError):
        return [], ""
    from mta.config.yaml import read

    value = read(text, file).value
    plugins = value.get("plugins") if isinstance(value, dict) else None
    if not isinstance(plugins, dict):
        return [], ""
    return [str(name) for name in plugins], os.path.join(
        os.path.dirname(os.path.abspath(file)), str(value.get("data_dir", "./var"))
    )


def _described(module: str) -> str | None:
    """None: no command to be seen."""
    sources = list(_sources(module.partition(".")[0]))
    if not any(re.search(rb"\.cli\(", source) for source in sources):
        return None
    try:
        text = ast.get_docstring(ast.parse(sources[0])) or ""
    except (SyntaxError, ValueError):
        return "cannot be read."
    return text.partition("\n")[0]


def _sources(package: str) -> Iterator[bytes]:
    from importlib.util import find_spec

    try:
        spec = find_spec(package)  # of a top-level name: runs nothing
    except (ImportError, ValueError):
        return
    if spec is None or spec.origin is None:
        return
    first = Path(spec.origin)
    others = sorted(first.parent.rglob("*.py")) if spec.submodule_search_locations else []
    for path in (first, *(p for p in others if p != first)):
        try:
            yield path.read_bytes()
        except OSError:
            yield b""


def command_of(ctx: click.Context, name: str) -> click.Command | None:
    """The command of the plugin of this name; None when the config lists no such plugin. Raises ConfigError, UsageError."""
    file = ctx.params.get("file")
    if name not in _config(file)[0]:
        return None
    from mta.config.load import load
    from mta.net.clock import SystemClock
    from mta.obs import log as obs_log
    from mta.obs.log import Log
    from mta.pluginhost import environment
    from mta.pluginhost.context import Services
    from mta.pluginhost.host import HookHost

    config = load(file)
    section = config.config.plugins.get(name)
    if section is None:  # safe mode leaves it out
        return None
    obs_log.configure("error")
    environment.use(config.config.data_dir)
    host = HookHost(Services(config.config.hostname, SystemClock(), Log(), terminal=(0, 1, 2)))
    host.load({name: section}, config.where)
    if (failed := host.failed.get(name)) is not None:
        place = f" ({failed.file}:{failed.line})" if failed.file else ""
        raise config.mistake(f"plugins.{name}", f"{failed.reason}{place}", "mta plugins check says more.")
    plugin = host.plugins[name]
    command = plugin.offers.command
    if command is None:
        raise click.UsageError(f"plugin {name} has no commands")
    ctx.meta[_OURS] = chosen = _Chosen(config, host, plugin)
    if plugin.process is not None:
        return _elsewhere(chosen, f"{ctx.command_path} {name}")
    command.context_settings = {**command.context_settings, "obj": plugin.context}
    return command


def _elsewhere(chosen: _Chosen, program: str) -> click.Command:
    """The command of a plugin in a process of its own: all its words go there, ``--help`` too."""
    from mta.pluginhost.isolation import IsolatedPlugin

    process = chosen.plugin.process
    assert isinstance(process, IsolatedPlugin)

    def run(words: tuple[str, ...]) -> int:
        import asyncio

        try:
            return asyncio.run(process.command(program, words, lambda: _services(chosen)))
        finally:
            chosen.host.stop()

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
    return click.Command(chosen.plugin.name, context_settings=settings, callback=run, params=[words])


def run(ctx: click.Context, work: Coroutine[Any, Any, Any]) -> Any:
    """Run what an ``async def`` callback returned, with the database open and the plugin's tables there."""
    import asyncio

    chosen: _Chosen = ctx.meta[_OURS]
    try:
        return asyncio.run(_with_services(chosen, work))
    finally:
        work.close()


async def _with_services(chosen: _Chosen, work: Coroutine[Any, Any, Any]) -> Any:
    async with _services(chosen):
        return await work


@asynccontextmanager
async def _services(chosen: _Chosen) -> AsyncIterator[None]:
    """The database is open and the plugin's tables are there."""
    from mta.cli.access import database
    from mta.net.dns import DnsResolver
    from mta.net.tasks import Tasks
    from mta.obs.log import Log
    from mta.pluginhost.check import PluginRefused
    from mta.pluginhost.owned import migrate

    config, host, plugin = chosen.config, chosen.host, chosen.plugin
    _provide(config, host)
    tasks = Tasks(Log())
    async with database(config, host) as opened:
        services = host.services
        services.kv, services.tables, services.dns = opened.kv, opened.tables, DnsResolver(config.config.dns, tasks)
        try:
            await migrate(plugin, opened.tables)
            yield
        except PluginRefused as exc:
            raise config.mistake(f"plugins.{plugin.name}", exc.problem) from exc
        finally:
            await tasks.close()
            if plugin.process is None:
                host.stop()


def _provide(config: "LoadedConfig", host: "HookHost") -> None:
    """Load the other plugins, one by one, until the backends are there. One that does not load is left out."""
    from mta.app.backends import wanted
    from mta.model.errors import ConfigError

    for name, section in config.config.plugins.items():
        if all(host.brings(kind, scheme) for kind, scheme in wanted(config.config)):
            return
        if name not in host.plugins and not section.get("isolate"):
            try:
                host.load({name: section}, config.where)
            except ConfigError:  # a required one: the server minds, this command does not
                continue
