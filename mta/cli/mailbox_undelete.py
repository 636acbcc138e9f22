"""``mta mailbox undelete``."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import asdict

import click

from mta.cli.access import ADDRESS, with_database
from mta.cli.output import json_option, show
from mta.cli.period import WHEN
from mta.model.address import Address
from mta.model.errors import ConfigError, NoSuchMailbox, NoSuchUser
from mta_hooks.backends import extras_of
from mta_hooks.backends.database import Database


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("folder", required=False)
@click.option("--at", type=WHEN, metavar="TIME", help="Make it as it was then: 2h (ago), 2026-11-01T08:30.")
@click.option("--dry-run", is_flag=True, help="Change nothing, say what would be restored.")
@json_option
@click.pass_context
def undelete(ctx: click.Context, address: Address, folder: str | None, at: float | None, dry_run: bool, as_json: bool) -> None:
    """Bring back what was deleted within storage.undelete_days: messages, and folders with them, of one FOLDER or all.

    Without --at: everything that was expunged and is nowhere else in the account, into the folder it was in, whatever that is called now;
    and deleted folders, under the name they had when deleted. A renamed folder is not deleted: it keeps its name. With --at: what each
    folder held at that moment, with the flags, name and subscription of then; what came later stays.

    Example: mta mailbox undelete alice@example.org --at 2h --dry-run
    """

    async def work(db: Database) -> list[dict[str, object]]:
        user = await db.directory.user(address)
        if user is None:
            raise NoSuchUser(f"{address}: no such user; mta user list shows them")
        found = extras_of(db.store).undelete
        if found is None:
            fix = "keep mailboxes in the database, or restore from a backup."
            raise ConfigError("config", "storage.mailboxes", "mailboxes kept there do not know what was deleted", fix)
        try:
            return [asdict(one) for one in await found.restore(user.id, at=at, folder=folder, dry_run=dry_run)]
        except NoSuchMailbox as exc:
            raise NoSuchMailbox(f"{address} has, and had, no folder {folder}; mta mailbox list {address} shows them") from exc

    rows = with_database(ctx, work)
    show(rows, ("folder", "messages", "size", "flags", "elsewhere", "made", "renamed", "subscribed"), as_json)
    if not rows and not as_json:
        click.echo("nothing to restore", err=True)
