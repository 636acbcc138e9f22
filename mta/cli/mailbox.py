"""``mta mailbox``."""
# SPDX-License-Identifier: Apache-2.0

import sys
from collections.abc import Callable

import click

from mta.cli.access import ADDRESS, with_database
from mta.cli.mailbox_acl import acl
from mta.cli.mailbox_files import export, import_
from mta.cli.mailbox_reindex import reindex
from mta.cli.mailbox_undelete import undelete
from mta.cli.output import json_option, progress, show
from mta.model.address import Address
from mta.model.errors import NoSuchUser
from mta_hooks.backends.database import Database


@click.group()
def mailbox() -> None:
    """Mailboxes of accounts.

    Example: mta mailbox list alice@example.org
    """


@mailbox.command("list")
@click.argument("address", type=ADDRESS)
@json_option
@click.pass_context
def list_(ctx: click.Context, address: Address, as_json: bool) -> None:
    """List an account's mailboxes with their counts.

    Example: mta mailbox list alice@example.org --json
    """

    async def work(db: Database) -> list[dict[str, object]]:
        user = await db.directory.user(address)
        if user is None:
            raise NoSuchUser(f"{address}: no such user; mta user list shows them")
        rows: list[dict[str, object]] = []
        for box in await db.store.mailboxes(user.id):
            if box.exists:
                status = await db.store.status(box.id)
                rows.append(
                    {
                        "mailbox": box.name,
                        "use": box.special_use,
                        "messages": status.messages,
                        "unseen": status.unseen,
                        "size": status.size,
                    }
                )
        return rows

    show(with_database(ctx, work), ("mailbox", "use", "messages", "unseen", "size"), as_json)


@mailbox.command()
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Check every invariant of the store and every body. Exit status 65 when something is damaged.

    Example: mta mailbox verify
    """

    async def work(db: Database) -> list[str]:
        bars: dict[int, Callable[[int], None]] = {}

        def tell(done: int, total: int) -> None:
            if total not in bars:
                bars[total] = progress(total, "checking")
            bars[total](done)

        return await db.verify(tell)

    damage = with_database(ctx, work)
    for line in damage:
        click.echo(line)
    if damage:
        sys.exit(65)
    click.echo("sound")


mailbox.add_command(acl)
mailbox.add_command(export)
mailbox.add_command(import_)
mailbox.add_command(reindex)
mailbox.add_command(undelete)
