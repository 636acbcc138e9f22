"""``mta trace``."""
# SPDX-License-Identifier: Apache-2.0

import json
from dataclasses import asdict

import click

from mta.app.explained import shown, step_text
from mta.cli.access import with_database
from mta.cli.output import json_option, stamp
from mta.cli.period import WHEN
from mta.model.errors import NoSuchUser
from mta_hooks.backends.database import TraceRecord


@click.command()
@click.argument("text", required=False, default="")
@click.option("--since", type=WHEN, default=0.0, show_default="the beginning", help="Not older than: 2h, 7d, 2026-11-01.")
@click.option("--until", type=WHEN, default=float("inf"), show_default="now", help="Not younger than.")
@click.option("--refused", is_flag=True, help="Only what was refused or deferred.")
@click.option("--plugin", default="", metavar="NAME", help="Only where this plugin had something to say.")
@click.option("--limit", default=20, show_default=True, help="Most records shown, newest first.")
@json_option
@click.pass_context
def trace(
    ctx: click.Context, /, text: str, since: float, until: float, refused: bool, plugin: str, limit: int, as_json: bool
) -> None:
    """What became of mail, accepted or not: by queue id, Message-ID, an address, or in a time.

    TEXT is a queue id, a Message-ID, a sender's, recipient's or client's address. Shown are what plugins decided and changed, how long
    they took, and what happened since: deliveries, attempts, bounces. Without TEXT, whatever the options leave.

    Example: mta trace alice@example.org --since 2h
    """
    if not (text or refused or plugin or since):
        raise click.UsageError("say what: a queue id, Message-ID or address, or --since, --refused, --plugin.")
    records = with_database(
        ctx,
        lambda db: db.traces.find(text, limit=limit, since=since, until=until, accepted=not refused, refused=True, plugin=plugin),
    )
    if as_json:
        click.echo(json.dumps([asdict(record) for record in records], indent=1, ensure_ascii=False))
        return
    if not records:
        raise NoSuchUser(f"{text or 'in this time'}: nothing known")
    for record in records:
        click.echo("\n".join(lines_of(record)))


def lines_of(record: TraceRecord) -> list[str]:
    """One record for people."""
    times = f" {record.count} times until {stamp(record.until)}" if record.count > 1 else ""
    size = f"{record.size} octets" if record.size else ""
    who = record.user or record.client or "-"
    said = (record.id or "-", stamp(record.at), f"{record.origin} by {who}", f"from <{record.sender}>", size, record.message_id)
    out = [shown("  ".join(part for part in said if part))]
    if record.recipients:
        out.append(shown(f"    to {', '.join(record.recipients)}"))
    if record.state != "accepted":
        out.append(shown(f"    {record.state} at {record.stage}{times}: {record.reply}"))
    for step in record.steps:
        at = f"{stamp(step['at'])}  " if "at" in step else ""
        out.append(f"    {at}{step_text(step)}")
    return out
