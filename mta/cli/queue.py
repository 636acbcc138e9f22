"""``mta queue``."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from functools import wraps
from typing import Any

import click

from mta.cli.access import with_database
from mta.cli.output import json_option, show, show_one, stamp
from mta.cli.queue_vetting import Vetted, change_queue
from mta.config.units import parse_seconds
from mta.model.delivery import QueueRow, Trouble
from mta.model.errors import NoSuchUser
from mta.model.ids import QueueId
from mta_hooks.backends.queue import QueueFilter

Command = Callable[..., Any]


def selection(function: Command) -> Command:
    """Adds the options that choose rows; the command gets ``wanted: QueueFilter``."""

    @click.argument("ids", nargs=-1)
    @click.option("--domain", default="", help="Recipients in this domain.")
    @click.option("--sender", default=None, help='From this address; "" is the null sender.')
    @click.option("--recipient", default="", help="To this address.")
    @click.option("--text", default="", help="Part of an address or of the last reply.")
    @click.option("--older-than", default=None, metavar="TIME", help='Accepted longer ago than, such as "2h".')
    @click.option("--plugin", default="", help="Rows that this plugin failed last.")
    @click.option("--hook", default="", help="Rows that failed in this hook last.")
    @click.option("--all", "everything", is_flag=True, help="The whole queue.")
    @wraps(function)
    def command(
        ids: tuple[str, ...],
        domain: str,
        sender: str | None,
        recipient: str,
        text: str,
        older_than: str | None,
        plugin: str,
        hook: str,
        everything: bool,
        **more: Any,
    ) -> None:
        wanted = QueueFilter(
            tuple(QueueId(i) for i in ids),
            domain.lower(),
            sender,
            recipient,
            text,
            "",
            _before(older_than),
            everything,
            plugin,
            hook,
        )
        function(wanted=wanted, **more)

    return command


def _before(age: str | None) -> float | None:
    if age is None:
        return None
    try:
        seconds = parse_seconds(age)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    assert isinstance(seconds, float)
    return time.time() - seconds


def _chosen(wanted: QueueFilter) -> QueueFilter:
    """Rows must be chosen on purpose. Raises UsageError."""
    if wanted == QueueFilter():
        raise click.UsageError("name queue ids, a filter such as --domain, or --all")
    return wanted


def _change(ctx: click.Context, work: Callable[[Vetted], Awaitable[int]], done: str) -> None:
    count = change_queue(ctx, work)
    click.echo(f"{count} recipient{'' if count == 1 else 's'} {done}")


@click.group()
def queue() -> None:
    """Messages that wait for their next attempt.

    Example: mta queue list --domain example.net
    """


@queue.command("list")
@selection
@click.option(
    "--state", type=click.Choice(["", "due", "waiting", "leased", "held", "error", "quarantine"]), default="", help="Only rows in this state."
)
@click.option("--limit", default=1000, show_default=True, help="Most rows shown.")
@json_option
@click.pass_context
def list_(ctx: click.Context, wanted: QueueFilter, state: str, limit: int, as_json: bool) -> None:
    """List recipients that wait. State "error": held because a plugin failed it again and again.

    Example: mta queue list --domain example.net --json
    """
    chosen = replace(wanted, state=state, everything=wanted.everything or wanted == QueueFilter())
    rows = with_database(ctx, lambda db: db.queue.list(chosen, limit=limit, now=time.time()))
    show(
        [_row(row, as_json) for row in rows],
        ("id", "state", "attempts", "size", "due", "sender", "recipient", "last_reply"),
        as_json,
    )


def _row(row: QueueRow, as_json: bool) -> Mapping[str, Any]:
    values = asdict(row)
    if not as_json:
        values.update(
            due=stamp(row.due), received_at=stamp(row.received_at), sender=row.sender or "<>", last_reply=row.hold or row.last_reply
        )
        del values["trouble"]
    return values


@queue.command("show")
@click.argument("id")
@json_option
@click.pass_context
def show_(ctx: click.Context, id: str, as_json: bool) -> None:
    """Show one message: its recipients, attempts and last replies; what a plugin did to it, with the traceback.

    Example: mta queue show 01JDC8Q2M7
    """
    wanted = QueueFilter(ids=(QueueId(id),))
    rows = with_database(ctx, lambda db: db.queue.list(wanted, now=time.time()))
    if not rows:
        raise NoSuchUser(f"{id}: not in the queue; mta trace {id} tells what became of it")
    if as_json:
        show([_row(row, True) for row in rows], (), True)
        return
    for row in rows:
        show_one(_row(row, False), False)
        click.echo()
        if row.trouble is not None:
            _show_trouble(row.trouble)


def _show_trouble(trouble: Trouble) -> None:
    values = asdict(trouble)
    traceback = values.pop("traceback")
    values |= {"at": stamp(trouble.at), "file": f"{trouble.file}:{trouble.line}" if trouble.file else ""}
    del values["line"]
    show_one(values, False)
    if traceback:
        click.echo(f"\n{traceback.rstrip()}")
    click.echo()


@queue.command()
@selection
@click.pass_context
def flush(ctx: click.Context, wanted: QueueFilter) -> None:
    """Try now what would wait longer; without a filter the whole queue.

    Example: mta queue flush --domain example.net
    """
    chosen = QueueFilter(everything=True) if wanted == QueueFilter() else wanted
    _change(ctx, lambda db: db.queue.flush(chosen, now=time.time()), "will be tried now")


@queue.command()
@selection
@click.pass_context
def retry(ctx: click.Context, wanted: QueueFilter) -> None:
    """Try the chosen rows now, those of the error hold too; other held rows stay.

    Example: mta queue retry --hook deliver
    """
    chosen = _chosen(wanted)

    async def work(db: Vetted) -> int:
        now = time.time()
        return await db.queue.release(replace(chosen, state="error"), now=now) + await db.queue.flush(chosen, now=now)

    _change(ctx, work, "will be tried now")


@queue.command()
@selection
@click.option("--reason", default="held by the operator", show_default=True, help="Kept with the row.")
@click.pass_context
def hold(ctx: click.Context, wanted: QueueFilter, reason: str) -> None:
    """Keep rows until they are released.

    Example: mta queue hold --sender newsletter@example.org
    """
    _change(ctx, lambda db: db.queue.hold(_chosen(wanted), reason), "held")


@queue.command()
@selection
@click.pass_context
def release(ctx: click.Context, wanted: QueueFilter) -> None:
    """Let held rows go on.

    Example: mta queue release --all
    """
    _change(ctx, lambda db: db.queue.release(_chosen(wanted), now=time.time()), "released")


@queue.command()
@selection
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, wanted: QueueFilter, yes: bool) -> None:
    """Remove rows without telling the sender.

    Example: mta queue delete 01JDC8Q2M7 --yes
    """
    chosen = _chosen(wanted)
    if not yes:
        click.confirm("Remove them without a bounce?", abort=True)
    _change(ctx, lambda db: db.queue.delete(chosen), "deleted")


@queue.command()
@click.option("--count", is_flag=True, help="One number: recipients in the queue.")
@json_option
@click.pass_context
def stats(ctx: click.Context, count: bool, as_json: bool) -> None:
    """Count the queue by state.

    Example: mta queue stats --count
    """
    if count:
        click.echo(with_database(ctx, lambda db: db.queue.count()))
        return
    show_one(with_database(ctx, lambda db: db.queue.stats(now=time.time())), as_json)
