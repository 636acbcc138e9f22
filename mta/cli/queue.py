"""``mta queue``."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from functools import wraps
from typing import Any, NamedTuple

import click

from mta.cli.access import ADDRESS, with_database
from mta.cli.output import Listing, json_option, show, show_one, stamp
from mta.cli.queue_vetting import PAGE, Vetted, change_queue
from mta.config.units import parse_seconds
from mta.model.address import Address
from mta.model.delivery import RESOLVE, QueueRow, Trouble
from mta.model.errors import NoSuchUser
from mta.model.ids import QueueId
from mta.route.router import FORM, parse_route
from mta_hooks.backends.database import Database
from mta_hooks.backends.queue import SHAPE_AGES, QueueFilter

Command = Callable[..., Any]
STATES = ("", "due", "waiting", "leased", "held", "error", "quarantine")


def selection(function: Command) -> Command:
    """Adds the options that choose rows; the command gets ``wanted: QueueFilter``."""

    @click.argument("ids", nargs=-1)
    @click.option("--domain", default="", help="Recipients in this domain.")
    @click.option("--sender", default=None, help='From this address; "" is the null sender.')
    @click.option("--recipient", default="", help="To this address.")
    @click.option("--text", default="", help="Part of an address or of the last reply.")
    @click.option("--state", type=click.Choice(STATES), default="", help="Only rows in this state.")
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
        state: str,
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
            state,
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


def changing(function: Command) -> Command:
    """Adds ``--dry-run`` and ``--json`` to a command that changes rows."""

    @click.option("--dry-run", "dry", is_flag=True, help="Say how many rows it would be, and do nothing.")
    @json_option
    @wraps(function)
    def command(**given: Any) -> None:
        function(**given)

    return command


class Saying(NamedTuple):
    """How a command answers: ``done`` is what was done to the recipients."""

    ctx: click.Context
    dry: bool
    as_json: bool
    done: str

    def change(self, work: Callable[[Vetted], Awaitable[int]], *, flush: bool = False) -> None:
        count = change_queue(self.ctx, work, dry=self.dry, flush=flush)
        if self.as_json:
            show_one({"recipients": count, "done": self.done, "dry_run": self.dry}, True)
            return
        done = f"would be {self.done.removeprefix('will be ')}" if self.dry else self.done
        click.echo(f"{count} recipient{'' if count == 1 else 's'} {done}")


@click.group()
def queue() -> None:
    """Messages that wait for their next attempt.

    Example: mta queue list --domain example.net
    """


@queue.command("list")
@selection
@click.option("--limit", default=1000, show_default=True, help="Most rows shown.")
@json_option
@click.pass_context
def list_(ctx: click.Context, wanted: QueueFilter, limit: int, as_json: bool) -> None:
    """List recipients that wait. State "error": held because a plugin failed it again and again; "quarantine": by a verdict.

    Example: mta queue list --domain example.net --json
    """
    chosen = QueueFilter(everything=True) if wanted == QueueFilter() else wanted
    listing = Listing(("id", "state", "attempts", "size", "due", "sender", "recipient", "last_reply"), as_json)

    async def run(database: Database) -> None:
        left, after = limit, 0
        while left > 0 and (rows := await database.queue.list(chosen, limit=min(PAGE, left), now=time.time(), after=after)):
            listing.add([_row(row, as_json) for row in rows])
            left -= len(rows)
            after = rows[-1].row

    with_database(ctx, run)
    listing.end()


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
@changing
@click.pass_context
def flush(ctx: click.Context, wanted: QueueFilter, dry: bool, as_json: bool) -> None:
    """Try now what would wait longer; without a filter the whole queue. Sites that did not answer are tried too.

    Example: mta queue flush --domain example.net
    """
    chosen = QueueFilter(everything=True) if wanted == QueueFilter() else wanted
    say = Saying(ctx, dry, as_json, "will be tried now")
    say.change(lambda db: db.queue.flush(chosen, now=time.time()), flush=True)


@queue.command()
@selection
@changing
@click.pass_context
def retry(ctx: click.Context, wanted: QueueFilter, dry: bool, as_json: bool) -> None:
    """Try the chosen rows now, those of the error hold too; other held rows stay.

    Example: mta queue retry --hook deliver
    """
    chosen = _chosen(wanted)

    async def work(db: Vetted) -> int:
        now = time.time()
        held = await db.queue.release(replace(chosen, state="error"), now=now) if chosen.state in ("", "error") else 0
        return held + await db.queue.flush(chosen, now=now)

    Saying(ctx, dry, as_json, "will be tried now").change(work, flush=True)


@queue.command()
@selection
@click.option("--reason", default="held by the operator", show_default=True, help="Kept with the row.")
@changing
@click.pass_context
def hold(ctx: click.Context, wanted: QueueFilter, reason: str, dry: bool, as_json: bool) -> None:
    """Keep rows until they are released.

    Example: mta queue hold --sender newsletter@example.org
    """
    chosen = _chosen(wanted)
    Saying(ctx, dry, as_json, "held").change(lambda db: db.queue.hold(chosen, reason))


@queue.command()
@selection
@changing
@click.pass_context
def release(ctx: click.Context, wanted: QueueFilter, dry: bool, as_json: bool) -> None:
    """Let held rows go on; --state quarantine: those of the quarantine.

    Example: mta queue release --state quarantine --sender alice@example.org
    """
    chosen = _chosen(wanted)
    Saying(ctx, dry, as_json, "released").change(lambda db: db.queue.release(chosen, now=time.time()))


@queue.command()
@selection
@click.option(
    "--to", "route", required=True, metavar="URL", help='The next hop, as config routes have it; "": where it goes by itself.'
)
@changing
@click.pass_context
def reroute(ctx: click.Context, wanted: QueueFilter, route: str, dry: bool, as_json: bool) -> None:
    """Send what is for other servers to another next hop, and try it now; held rows stay held.

    Example: mta queue reroute --domain example.net --to smtp://backup.example.net:25
    """
    chosen = _chosen(wanted)
    try:
        if route:
            parse_route(route)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}; {FORM}", param_hint="--to") from exc
    say = Saying(ctx, dry, as_json, "rerouted")
    say.change(lambda db: db.queue.reroute(chosen, route, now=time.time()), flush=True)


@queue.command()
@selection
@changing
@click.pass_context
def requeue(ctx: click.Context, wanted: QueueFilter, dry: bool, as_json: bool) -> None:
    """Look the addresses up again, as when the message came, and try it now: after a change of aliases, domains or routes.

    Example: mta queue requeue --domain example.org
    """
    chosen = _chosen(wanted)
    say = Saying(ctx, dry, as_json, "will be looked up again")
    say.change(lambda db: db.queue.reroute(chosen, RESOLVE, now=time.time()), flush=True)


@queue.command()
@click.argument("id")
@click.option("--add", multiple=True, type=ADDRESS, help="One more recipient.")
@click.option("--remove", multiple=True, type=ADDRESS, help="Without this recipient; nobody is told.")
@click.option("--replace", "put", multiple=True, metavar="OLD=NEW", help="NEW in place of OLD.")
@changing
@click.pass_context
def edit(
    ctx: click.Context,
    id: str,
    add: tuple[Address, ...],
    remove: tuple[Address, ...],
    put: tuple[str, ...],
    dry: bool,
    as_json: bool,
) -> None:
    """Change who gets a message that waits. New addresses are looked up as when a message comes.

    Example: mta queue edit 01JDC8Q2M7 --replace bob@exmaple.net=bob@example.net
    """
    if not (add or remove or put):
        raise click.UsageError("give --add, --remove or --replace")
    pairs = dict(_pair(text) for text in put)
    gone, new = change_queue(ctx, lambda db: db.queue.edit(QueueId(id), add, remove, pairs), dry=dry)
    if as_json:
        show_one({"removed": gone, "added": new, "dry_run": dry}, True)
    else:
        click.echo(f"{gone} taken out, {new} put in{' (not done)' if dry else ''}")


def _pair(text: str) -> tuple[Address, Address]:
    old, equals, new = text.rpartition("=")
    try:
        if not equals:
            raise ValueError("write OLD=NEW")
        return Address.parse(old), Address.parse(new)
    except ValueError as exc:
        raise click.BadParameter(f"{text!r}: {exc}", param_hint="--replace") from exc


@queue.command()
@selection
@click.option("--yes", is_flag=True, help="Do not ask.")
@changing
@click.pass_context
def delete(ctx: click.Context, wanted: QueueFilter, yes: bool, dry: bool, as_json: bool) -> None:
    """Remove rows without telling the sender.

    Example: mta queue delete 01JDC8Q2M7 --yes
    """
    chosen = _chosen(wanted)
    if not yes and not dry:
        count = with_database(ctx, lambda db: db.queue.count(chosen, now=time.time()))
        click.confirm(f"Remove {count} recipient{'' if count == 1 else 's'} without a bounce?", abort=True)
    Saying(ctx, dry, as_json, "deleted").change(lambda db: db.queue.delete(chosen))


@queue.command()
@click.option("--count", is_flag=True, help="One number: recipients in the queue.")
@click.option(
    "--by",
    type=click.Choice(["state", "age"]),
    default="state",
    show_default=True,
    help="age: for each site, by age of the message.",
)
@click.option("--limit", default=50, show_default=True, help="Most sites shown by age.")
@json_option
@click.pass_context
def stats(ctx: click.Context, count: bool, by: str, limit: int, as_json: bool) -> None:
    """Count the queue by state, or by site and age: columns are minutes, "5" up to five, "1280+" above the last.

    Example: mta queue stats --by age
    """
    if count:
        click.echo(with_database(ctx, lambda db: db.queue.count()))
    elif by == "age":
        found = with_database(ctx, lambda db: db.queue.shape(now=time.time(), limit=limit))
        heads = [f"{age / 60:.0f}" for age in SHAPE_AGES]
        heads.append(heads[-1] + "+")
        table = [{"site": one.site, "total": one.total, **dict(zip(heads, one.ages, strict=True))} for one in found]
        show(table, ("site", "total", *heads), as_json)
    else:
        show_one(with_database(ctx, lambda db: db.queue.stats(now=time.time())), as_json)
