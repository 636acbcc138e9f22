"""``mta alias``."""
# SPDX-License-Identifier: Apache-2.0

import click

from mta.cli.access import with_database
from mta.cli.output import json_option, show
from mta.model.address import Address
from mta.model.directory import Alias
from mta.model.domain import normalise
from mta.model.pipe import program_of


def _source(text: str) -> str:
    try:
        if text.startswith("@"):
            return "@" + normalise(text[1:])
        address = Address.parse(text)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r}: {exc}") from exc
    return str(Address(address.local.lower(), address.domain))


@click.group()
def alias() -> None:
    """Addresses that stand for others; @domain is the catch-all.

    Example: mta alias add sales@example.org alice@example.org bob@example.net
    """


@alias.command()
@click.argument("source")
@click.argument("targets", nargs=-1, required=True)
@click.pass_context
def add(ctx: click.Context, source: str, targets: tuple[str, ...]) -> None:
    """Add an alias: one source, any number of targets: addresses, or "|name" for the program hooks_dir/pipe.d/name.

    Example: mta alias add @example.org alice@example.org
    """
    known = _source(source)
    try:
        parsed = tuple(f"|{program_of(t)}" if t.startswith("|") else str(Address.parse(t)) for t in targets)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    with_database(ctx, lambda db: db.directory.add_alias(Alias(known, parsed)), "directory")


@alias.command("list")
@click.argument("domain", default="")
@json_option
@click.pass_context
def list_(ctx: click.Context, domain: str, as_json: bool) -> None:
    """List aliases, of one domain or all.

    Example: mta alias list example.org
    """
    found = with_database(ctx, lambda db: db.directory.aliases(domain))
    rows = [{"source": a.source, "targets": list(a.targets) if as_json else " ".join(a.targets)} for a in found]
    show(sorted(rows, key=lambda row: str(row["source"])), ("source", "targets"), as_json)


@alias.command()
@click.argument("source")
@click.pass_context
def delete(ctx: click.Context, source: str) -> None:
    """Delete an alias.

    Example: mta alias delete sales@example.org
    """
    known = _source(source)
    with_database(ctx, lambda db: db.directory.delete_alias(known), "directory")
