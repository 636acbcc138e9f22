"""``mta plugins check`` and ``doctor``: does what is installed load, and is the environment whole?"""
# SPDX-License-Identifier: Apache-2.0

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

import click

from mta.cli.access import loaded
from mta.cli.failure import CONFIG
from mta.cli.output import json_option, show
from mta.cli.plugins_listed import enter
from mta.config.load import LoadedConfig
from mta.config.safe import GROUP
from mta.model.errors import ConfigError
from mta.net.clock import SystemClock
from mta.obs import log as obs_log
from mta.obs.log import Log
from mta.pluginhost.check import PluginRefused, nearest
from mta.pluginhost.context import Services
from mta.pluginhost.environment import Built, Environment, installed_in
from mta.pluginhost.host import HookHost
from mta.pluginhost.load import find, load_package
from mta.pluginhost.lock import canonical, sha256_of
from mta.pluginhost.pip import Pip, PipFailed
from mta.pluginhost.plugin import Plugin

Finding = tuple[str, str, str]
"""("ok" | "note" | "warn" | "fail", what, text)"""


@click.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def check(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Load everything that is installed, listed in the config or not, and report problems with file:line. Exit status 78 for any.

    Example: mta plugins check greylist
    """
    config = loaded(ctx)
    rows = [{"plugin": n, "result": r, "problem": t} for r, n, t in checked(config, name)]
    show(rows, ("plugin", "result", "problem"), as_json)
    if any(row["result"] == "fail" for row in rows):
        sys.exit(CONFIG)


def checked(config: LoadedConfig, name: str | None = None) -> Iterator[Finding]:
    """One finding for each installed plugin, and for each that is listed only. Raises UsageError for a name nobody knows."""
    problem = enter(config)
    if problem:
        yield "fail", "(environment)", problem
    known = sorted({e.name for e in entry_points(group=GROUP)} | config.config.plugins.keys())
    if name is not None and name not in known:
        raise click.UsageError(f"{name} is neither installed nor listed{nearest(name, known)}")
    for one in known if name is None else [name]:
        section = config.config.plugins.get(one)
        try:
            plugin = load(config, one, section)
        except PluginRefused as exc:
            place = f"{exc.file}:{exc.line}: " if exc.file else f"{config.where(f'plugins.{one}')}: " if section is not None else ""
            yield "fail", one, f"{place}{exc.problem}"
        except ConfigError as exc:
            # Not listed: it has no section yet that could be wrong.
            yield ("fail", one, str(exc)) if section is not None else ("note", one, f"not listed; {exc.key}: {exc.problem}")
        else:
            yield "ok", one, f"{plugin.version}{'' if section is not None else ', not listed'}"


def load(config: LoadedConfig, name: str, section: Mapping[str, Any] | None) -> Plugin:
    """Load one plugin into a host of its own. Raises PluginRefused, ConfigError."""
    obs_log.configure("error")
    host = HookHost(Services(config.config.hostname, SystemClock(), Log()))
    plugin = load_package(name, section, 0, host.services, host.options, config.where, find)
    host.change(add=[plugin])
    return plugin


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Compare config, lock and plugin environment: what is missing, broken, in conflict or not listed. Exit status 1 for a failure.

    Example: mta plugins doctor --json
    """
    config = loaded(ctx)
    found = [*_environment(Environment(config.config.data_dir)), *checked(config)]
    show([{"result": r, "what": w, "finding": t} for r, w, t in found], ("result", "what", "finding"), as_json)
    if any(result == "fail" for result, _, _ in found):
        sys.exit(1)


def _environment(environment: Environment) -> Iterator[Finding]:
    try:
        locked = {entry.name: entry for entry in environment.lock()}
    except ConfigError as exc:
        yield "fail", "lock", str(exc)
        return
    generation = environment.current()
    if not locked and generation is None:
        yield "ok", "environment", f"{environment.folder}: nothing is installed"
        return
    if generation is None:
        yield "fail", "environment", f"{environment.site} is gone. Fix: mta plugins sync"
        return
    yield from _stale(environment.built(generation))
    installed = installed_in(generation)
    for name, entry in locked.items():
        if name not in installed:
            yield "fail", name, "in the lock, not in the environment. Fix: mta plugins sync"
        elif installed[name].version != entry.version:
            yield "fail", name, f"{installed[name].version} is installed, the lock says {entry.version}. Fix: mta plugins sync"
        wheel = environment.wheels / entry.wheel
        if not wheel.is_file():
            yield "warn", name, f"{wheel} is gone: the next sync needs the network"
        elif sha256_of(wheel) != entry.sha256:
            yield "fail", name, f"{wheel} is not the file that was locked: the next sync fetches it again"
    for name in installed.keys() - locked.keys():
        yield "fail", name, "in the environment, missing from the lock. Fix: mta plugins sync"
    try:
        for line in Pip.find().conflicts(generation):
            if canonical(line.split(" ")[0]) in installed:
                yield "fail", line.split(" ")[0], f"conflict: {line}"
    except PipFailed as exc:
        yield "warn", "pip", str(exc)


def _stale(built: Built) -> Iterator[Finding]:
    here = Built.here()
    if built.python != here.python:
        yield "fail", "environment", f"built for {built.python or 'another Python'}, this is {here.python}. Fix: mta plugins sync"
    elif built.mta != here.mta:
        yield "warn", "environment", f"built for mta {built.mta}, this is {here.mta}. Fix: mta plugins sync"
    else:
        yield "ok", "environment", f"built for {built.python}, mta {built.mta}"
