"""``mta domain``."""
# SPDX-License-Identifier: Apache-2.0

import click

from mta.cli.access import loaded, with_database
from mta.cli.output import json_option, show
from mta.model.directory import Domain
from mta.model.domain import normalise


class _Name(click.ParamType[str]):
    name = "domain"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return normalise(value)
        except ValueError as exc:
            self.fail(f"{value!r} is no domain: {exc}", param, ctx)


@click.group()
def domain() -> None:
    """Domains of ours.

    Example: mta domain add example.org
    """


@domain.command()
@click.argument("name", type=_Name())
@click.option("--relay", is_flag=True, help="Accept its mail and pass it on instead of keeping mailboxes.")
@click.pass_context
def add(ctx: click.Context, name: str, relay: bool) -> None:
    """Add a domain.

    Example: mta domain add example.org
    """
    with_database(ctx, lambda db: db.directory.add_domain(Domain(name, "relay" if relay else "local")), "directory")


@domain.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List domains, those of the config included.

    Example: mta domain list --json
    """
    found = with_database(ctx, lambda db: db.directory.domains())
    rows = [{"domain": d.name, "kind": d.kind, "from": "command"} for d in found]
    known = {d.name for d in found}
    rows += [{"domain": name, "kind": "local", "from": "config"} for name in loaded(ctx).config.domains if name not in known]
    show(sorted(rows, key=lambda row: row["domain"]), ("domain", "kind", "from"), as_json)


@domain.command()
@click.argument("name", type=_Name())
@click.pass_context
def delete(ctx: click.Context, name: str) -> None:
    """Delete a domain that has no users and aliases any more.

    Example: mta domain delete example.org
    """
    with_database(ctx, lambda db: db.directory.delete_domain(name), "directory")
