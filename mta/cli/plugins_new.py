"""``mta plugins new``."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import click

from mta.pluginhost.check import PluginRefused
from mta.pluginhost.scaffold import Scaffold


@click.command()
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Where; default: ./mta-NAME.")
def new(name: str, folder: Path | None) -> None:
    """Write a plugin package to begin with: hooks, typed config, tests that pass, README, CI.

    Example: mta plugins new patience --dir ./mta-patience
    """
    try:
        scaffold = Scaffold(name)
    except PluginRefused as exc:
        raise click.UsageError(exc.problem) from exc
    target = folder or Path(scaffold.distribution)
    if target.exists() and any(target.iterdir()):
        raise click.UsageError(f"{target} is not empty")
    for path in scaffold.write(target):
        click.echo(path)
    click.echo(f"next: cd {target} && python -m pytest   (docs/plugin-authors/package.md tells the rest)")
