"""``mta dns``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sys
from dataclasses import asdict

import click

from mta.app.dns_records import Finding, Record, look, wanted, zone_line
from mta.cli.access import loaded
from mta.cli.output import json_option, show
from mta.config.load import LoadedConfig
from mta.model.domain import normalise
from mta.net.dns import DnsResolver
from mta.net.tasks import Tasks
from mta.obs.log import Log

_MISSING, _TEMPORARY = 1, 75


@click.command()
@click.argument("domain")
@click.option("--check", is_flag=True, help="Compare with DNS. Exit status 1: something is missing or wrong; 75: no answer.")
@json_option
@click.pass_context
def dns(ctx: click.Context, domain: str, check: bool, as_json: bool) -> None:
    """Print the records that a domain of ours should have, as lines of a zone file; or say which are missing.

    Example: mta dns example.org --check
    """
    try:
        domain = normalise(domain)
    except ValueError as exc:
        raise click.BadParameter(f"{domain!r} is no domain: {exc}", param_hint="DOMAIN") from exc
    config = loaded(ctx)
    try:
        records = wanted(domain, config.config)
    except (OSError, ValueError) as exc:
        raise config.mistake("plugins.dkim", f"the key of {domain}: {exc}", "mta dkim keygen makes one.") from exc
    found = asyncio.run(_look(config, records)) if check else [None] * len(records)
    if as_json or check:
        rows = [_row(record, finding) for record, finding in zip(records, found, strict=True)]
        show(rows, ("state", "name", "kind", "found"), as_json)
        if not as_json:
            for record, finding in zip(records, found, strict=True):
                if finding is not None and finding.state in ("missing", "wrong"):
                    click.echo(f"add: {zone_line(record).removeprefix('; ')}", err=True)
    else:
        for record in records:
            line = zone_line(record)
            click.echo(line if line.startswith(";") else f"; {record.why}\n{line}")
    states = {finding.state for finding in found if finding is not None}
    if states & {"missing", "wrong"}:
        sys.exit(_MISSING)
    if "unknown" in states:
        sys.exit(_TEMPORARY)


def _row(record: Record, finding: Finding | None) -> dict[str, object]:
    row: dict[str, object] = {key: value for key, value in asdict(record).items() if key != "exact"}
    return row if finding is None else row | {"state": finding.state, "found": finding.text}


async def _look(config: LoadedConfig, records: list[Record]) -> list[Finding | None]:
    tasks = Tasks(Log())
    resolver = DnsResolver(config.config.dns, tasks)
    try:
        return list(await asyncio.gather(*(look(record, resolver) for record in records)))
    finally:
        await tasks.close()
