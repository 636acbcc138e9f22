"""``mta mailbox acl``."""
# SPDX-License-Identifier: Apache-2.0

import click

from mta.cli.access import ADDRESS, with_database
from mta.cli.output import json_option, show
from mta.model.address import Address
from mta.model.errors import ConfigError, NoSuchMailbox, NoSuchUser
from mta.model.rights import changed, identifier
from mta_hooks.backends import extras_of
from mta_hooks.backends.database import Database


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("folder", required=False)
@click.argument("who", required=False)
@click.argument("rights", required=False)
@click.option("--below", is_flag=True, help="Change the folders below it too.")
@json_option
@click.pass_context
def acl(
    ctx: click.Context, address: Address, folder: str | None, who: str | None, rights: str | None, below: bool, as_json: bool
) -> None:
    """Who may do what in an account's folders: show it, or with WHO and RIGHTS change it.

    WHO is an address, anyone or authenticated; -WHO takes rights away. RIGHTS are letters of lrswipkxtea (RFC 4314), +letters to add, -letters
    to remove, or "none".

    Example: mta mailbox acl team@example.org Projects bob@example.org lrswi
    """
    if who is not None and rights is None:
        raise click.UsageError("RIGHTS are missing; none: to remove the entry")

    async def work(db: Database) -> list[dict[str, object]]:
        user = await db.directory.user(address)
        if user is None:
            raise NoSuchUser(f"{address}: no such user; mta user list shows them")
        sharing = extras_of(db.store).sharing
        if sharing is None:
            raise ConfigError(
                "config", "storage.mailboxes", "mailboxes kept there have no access lists", "keep them in the database"
            )
        boxes = [box for box in await db.store.mailboxes(user.id) if box.exists and _within(box.name, folder, below or who is None)]
        if folder is not None and not any(_within(box.name, folder, False) for box in boxes):
            raise NoSuchMailbox(f"{address} has no folder {folder}; mta mailbox list {address} shows them")
        rows: list[dict[str, object]] = []
        for box in boxes:
            entries = dict(await sharing.entries(box.id))
            if who is not None and rights is not None:
                name, letters = _checked(who, rights, entries, address)
                await sharing.set_entry(box.id, name, letters)
                entries = dict(await sharing.entries(box.id))
            rows += [{"folder": box.name, "who": name, "rights": letters} for name, letters in sorted(entries.items())]
        return rows

    show(with_database(ctx, work), ("folder", "who", "rights"), as_json)


def _within(name: str, folder: str | None, below: bool) -> bool:
    if folder is None:
        return True
    if folder.upper() == "INBOX":
        folder = "INBOX"
    return name == folder or (below and name.startswith(folder + "/"))


def _checked(who: str, rights: str, entries: dict[str, str], owner: Address) -> tuple[str, str]:
    try:
        name = identifier(who)
        if name.removeprefix("-") == str(owner).lower():
            raise ValueError("the owner has every right")
        return name, "" if rights == "none" else changed(entries.get(name, ""), rights)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
