"""``mta config``."""
# SPDX-License-Identifier: Apache-2.0

import difflib
import json
from typing import Any

import click

from mta.app.setting import check_http
from mta.cli.access import host_of, loaded
from mta.cli.output import json_option, show_one
from mta.config.describe import keys


@click.group()
def config() -> None:
    """The config file.

    Example: mta config check
    """


@config.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check the file and every plugin's section. Exit status 78 with file:line when something is wrong.

    Example: mta --config ./mta.yaml config check
    """
    found = loaded(ctx)
    check_http(found)
    host = host_of(found)
    for name, failed in host.failed.items():
        place = f" ({failed.file}:{failed.line})" if failed.file else ""
        click.echo(f"{found.where(f'plugins.{name}')}: plugins.{name}: will not run: {failed.reason}{place}", err=True)
    click.echo(f"{found.file}: sound, {len(host.plugins)} plugin{'' if len(host.plugins) == 1 else 's'}")


@config.command()
@click.pass_context
def show(ctx: click.Context) -> None:
    """Print the config in force, defaults included, as JSON (which is YAML); secrets are not printed.

    Example: mta config show
    """
    found = loaded(ctx)
    values: dict[str, Any] = found.config.model_dump(mode="json")
    for path, written in found.references.items():
        _put(values, path, written)
    if found.config.relay.password is not None and ("relay", "password") not in found.references:
        values["relay"]["password"] = "***"  # noqa: S105  # what is printed in its place
    for host, login in found.config.relay.credentials.items():
        if login.password is not None and ("relay", "credentials", host, "password") not in found.references:
            values["relay"]["credentials"][host]["password"] = "***"  # noqa: S105  # likewise
    if found.config.http.admin_token is not None and ("http", "admin_token") not in found.references:
        values["http"]["admin_token"] = "***"  # noqa: S105  # likewise
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def _put(values: Any, path: tuple[str | int, ...], written: str) -> None:
    for step in path[:-1]:
        values = values[step]
    values[path[-1]] = written


@config.command()
@click.argument("key")
@json_option
def explain(key: str, as_json: bool) -> None:
    """Say what a key means, what it may be, and its default.

    Example: mta config explain limits.message_size
    """
    known = {entry.name: entry for entry in keys()}
    entry = known.get(key)
    if entry is None:
        near = difflib.get_close_matches(key, known, 3)
        raise click.ClickException(f"no key {key}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    values: dict[str, Any] = {"key": entry.name, "means": entry.description, "form": entry.form}
    if not entry.section:
        values["default"] = entry.default
    if entry.bounds:
        values["bounds"] = entry.bounds
    below = [name for name in known if name.startswith(f"{key}.")]
    if below:
        values["keys"] = " ".join(below)
    show_one(values, as_json)
