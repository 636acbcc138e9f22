"""``mta trace``."""
# SPDX-License-Identifier: Apache-2.0

import json
from dataclasses import asdict

import click

from mta.cli.access import with_database
from mta.cli.output import json_option, stamp
from mta.model.errors import NoSuchUser


@click.command()
@click.argument("text")
@click.option("--limit", default=20, show_default=True, help="Most messages shown, newest first.")
@json_option
@click.pass_context
def trace(ctx: click.Context, text: str, limit: int, as_json: bool) -> None:
    """What became of a message: by queue id, Message-ID, or an address.

    Example: mta trace alice@example.org
    """
    records = with_database(ctx, lambda db: db.traces.find(text, limit=limit))
    if as_json:
        click.echo(json.dumps([asdict(r) for r in records], indent=1, ensure_ascii=False))
        return
    if not records:
        raise NoSuchUser(f"{text}: nothing known")
    for record in records:
        who = record.user or record.client or "-"
        click.echo(
            f"{record.id}  {stamp(record.at)}  {record.origin} by {who}  from <{record.sender}>  {record.size} octets  {record.message_id}"
        )
        for step in record.steps:
            click.echo("    " + " ".join(f"{key}={value}" for key, value in step.items()))
