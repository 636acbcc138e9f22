"""``mta lookup``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import sys
from collections.abc import Sequence

import click

from mta.app.backends import make_lookups
from mta.cli.access import host_of, loaded
from mta.cli.output import json_option
from mta.config.load import LoadedConfig
from mta.lookup.opened import Chain
from mta.model.address import Address
from mta_hooks.lookup import address_keys, client_keys, domain_keys

EX_DATAERR, EX_NOUSER = 65, 67


@click.command()
@click.argument("source")
@click.argument("keys", nargs=-1)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["key", "address", "access", "domain", "client"]),
    default="key",
    show_default=True,
    help="What KEYS are: asked as they are, or in their parts, the most specific first.",
)
@json_option
@click.pass_context
def lookup(ctx: click.Context, source: str, keys: tuple[str, ...], kind: str, as_json: bool) -> None:
    """Look KEYS up in a table, as postmap -q does; without KEYS, read it and name what is wrong with its lines.

    SOURCE is type:argument, such as hash:/etc/postfix/virtual, or a name of config tables. Exit status 67 when no key is there, 65 when a
    line is wrong, 78 when the table cannot be read.

    Example: mta lookup --as address hash:/etc/postfix/virtual bob@example.org
    """
    config = loaded(ctx)
    found, problems = asyncio.run(_ask(config, source, [(key, _parts(key, kind)) for key in keys]))
    if as_json:
        values = [{"key": key, "matched": matched, "value": value} for key, matched, value in found]
        click.echo(json.dumps({"found": values, "problems": problems}, ensure_ascii=False, indent=1))
    else:
        for key, matched, value in found:
            click.echo(f"{key}\t{value}" + (f"\t({matched})" if matched != key else ""))
        for problem in () if keys else problems:
            click.echo(problem, err=True)
    if keys and not found:
        sys.exit(EX_NOUSER)
    if not keys and problems:
        sys.exit(EX_DATAERR)


async def _ask(
    config: LoadedConfig, source: str, wanted: Sequence[tuple[str, list[str]]]
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """((key, the part of it that is there, value) …, problems of lines). Raises ConfigError, TemporaryFailure."""
    table = make_lookups(config, host_of(config)).table(source)
    await table.open()
    found = []
    for key, parts in wanted:
        if (said := await table.match(parts)) is not None:
            found.append((key, *said))
    return found, table.problems() if isinstance(table, Chain) else []


def _parts(key: str, kind: str) -> list[str]:
    if kind == "client":
        return client_keys(key)
    if kind == "domain":
        return list(domain_keys(key.lower()))
    if kind == "key":
        return [key]
    try:
        return address_keys(None if key == "<>" else Address.parse(key), access=kind == "access")
    except ValueError as exc:
        raise click.BadParameter(f"{key!r}: {exc}") from None
