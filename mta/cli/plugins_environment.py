"""``mta plugins install``, ``uninstall``, ``sync``: distributions in the plugin environment."""
# SPDX-License-Identifier: Apache-2.0

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from mta.app.places import Places
from mta.app.privileges import account_of
from mta.cli.access import loaded
from mta.cli.failure import CONFIG
from mta.config.load import LoadedConfig
from mta.config.safe import GROUP
from mta.pluginhost.environment import Environment, installed_in, server_distributions
from mta.pluginhost.install import Change, Installer
from mta.pluginhost.look import Look, looks
from mta.pluginhost.pip import Pip, Sources

F = TypeVar("F", bound=Callable[..., Any])

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def source_options(function: F) -> F:
    """Options that pip is given as they are."""
    options = [
        click.option("--find-links", multiple=True, metavar="DIR", help="Look for files there too."),
        click.option("--no-index", is_flag=True, help="Ask no package index: offline."),
        click.option("--index-url", default="", metavar="URL", help="Package index; else as pip is configured."),
        click.option("--extra-index-url", multiple=True, metavar="URL", help="One more package index."),
        click.option("--build", is_flag=True, help="Build source distributions too; that runs their code."),
        click.option("--no-build-isolation", is_flag=True, help="Build with what is installed here."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("requirements", nargs=-1, metavar="REQUIREMENT...")
@click.option("--upgrade", "-U", is_flag=True, help="The newest version of these, or of all when none is named.")
@yes_option
@source_options
@click.pass_context
def install(ctx: click.Context, /, requirements: tuple[str, ...], upgrade: bool, yes: bool, **sources: Any) -> None:
    """Install third-party plugins beside the server's own packages, none of which changes. Installed is not active: see enable.

    Shows what they hook and ask for before anything of them runs. REQUIREMENT: a name, NAME==VERSION, a wheel, a folder, a URL.

    Example: mta plugins install mta-patience --find-links ./wheels --no-index
    """
    if not requirements and not upgrade:
        raise click.UsageError("name what to install, such as mta-patience, or say --upgrade for all")
    wanted = [_absolute(text) for text in requirements]
    with _installer(loaded(ctx), Sources(**sources)) as installer:
        _carry_out(installer.install(wanted, upgrade=upgrade), yes, "installed")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="DISTRIBUTION...")
@yes_option
@source_options
@click.pass_context
def uninstall(ctx: click.Context, /, names: tuple[str, ...], yes: bool, **sources: Any) -> None:
    """Remove distributions, and what only they needed. Disable their plugins first.

    Example: mta plugins uninstall mta-patience
    """
    config = loaded(ctx)
    with _installer(config, Sources(**sources)) as installer:
        change = installer.uninstall(names)
        gone = _names(Environment(config.config.data_dir).current()) - _names(change.generation)
        if used := sorted(gone & config.config.plugins.keys()):
            change.drop()
            raise click.UsageError(f"the config lists {', '.join(used)}; first: mta plugins disable {used[0]}")
        _carry_out(change, yes, "uninstalled")


@click.command()
@click.option("--relock", is_flag=True, help="Find files for this Python and server anew, at the locked versions where that goes.")
@source_options
@click.pass_context
def sync(ctx: click.Context, /, relock: bool, **sources: Any) -> None:
    """Build the plugin environment again from its lock, hashes checked; after an upgrade of mta or Python.

    Needs no network while data_dir/plugins/wheels is whole. Exit status 78 when a plugin does not go with this server;
    the environment is built all the same, and the server leaves out what does not load.

    Example: mta plugins sync
    """
    with _installer(loaded(ctx), Sources(**sources)) as installer:
        change = installer.relock() if relock else installer.sync()
        for line in change.differences():
            click.echo(line)
        change.commit()
    click.echo(f"built from the lock: {len(change.locked)} distributions in {change.generation}; mta reload puts them to work")
    if change.conflicts:
        for line in change.conflicts:
            click.echo(f"conflict: {line}", err=True)
        click.echo("Fix: mta plugins install --upgrade NAME, or mta plugins disable NAME.", err=True)
        sys.exit(CONFIG)


@contextmanager
def _installer(config: LoadedConfig, sources: Sources) -> Iterator[Installer]:
    """Says with which pip it works."""
    pip = Pip.find()
    click.echo(f"with {pip.text}", err=True)
    folder = Path(config.config.data_dir)
    environment = Environment(folder)
    try:
        if not folder.is_dir():
            Places(str(folder)).prepare(account_of(config.config.user))
        with environment.changing():
            if problem := environment.distrust():
                raise config.mistake("data_dir", problem, "then run the command again.")
            yield Installer(environment, pip, sources)
    except PermissionError as exc:
        fix = "run the command as root or as the server's user."
        raise config.mistake("data_dir", f"{exc.filename or environment.folder}: {exc.strerror}", fix) from exc


def _carry_out(change: Change, yes: bool, done: str) -> None:
    """Show, ask, commit; whatever keeps it from that drops the change."""
    try:
        show_change(change)
        agree(yes, "Put this in place?")
        change.commit()
    except BaseException:
        change.drop()
        raise
    click.echo(f"{done}; locked with hashes in {change.environment.lock_file}")
    new = sorted(_names(change.generation))
    if done == "installed" and new:
        click.echo(f"next: mta plugins enable {new[0]}" + (f" (or {', '.join(new[1:])})" if len(new) > 1 else ""))


def show_change(change: Change) -> None:
    """Print what comes, what it hooks and asks for. Raises UsageError for what would break the server."""
    for line in change.differences() or ["nothing changes"]:
        click.echo(line)
    found = [look for d in installed_in(change.generation).values() for look in looks(d)]
    refuse_rivals(found)
    new = {e.name for e in set(change.locked) - set(change.before)}
    for look in found:
        if look.distribution.replace("_", "-").lower() in new:
            click.echo("\n".join(look.lines()))
    if change.locked and not found:
        click.echo("none of these distributions provides a plugin (entry point group mta.plugins)", err=True)
    for line in change.conflicts:
        click.echo(f"conflict: {line}", err=True)


def refuse_rivals(found: list[Look]) -> None:
    """A plugin with a name that is taken would keep both from loading, the server's own too."""
    taken = {e.name: d.name for d in server_distributions() for e in d.entry_points.select(group=GROUP)}
    for look in found:
        if (owner := taken.get(look.name)) not in (None, look.distribution):
            raise click.UsageError(f"{look.distribution} provides a plugin {look.name}, and so does {owner}: nothing was changed")
        taken[look.name] = look.distribution


def agree(yes: bool, question: str) -> None:
    """Raises UsageError when nobody is there to ask, Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nothing was changed: add --yes where no terminal is there to ask")
    click.confirm(question, abort=True, err=True)


def _names(generation: Path | None) -> set[str]:
    return {e.name for d in installed_in(generation).values() for e in d.entry_points.select(group=GROUP)}


def _absolute(text: str) -> str:
    """A wheel or a folder is named from where the command runs; pip wants ``./`` before a bare name of a folder."""
    path = Path(text)
    return str(path.resolve()) if path.exists() and ("/" in text or path.is_file()) else text
