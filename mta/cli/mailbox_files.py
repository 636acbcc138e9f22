"""``mta mailbox export`` and ``mta mailbox import``."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import click

from mta.cli.access import ADDRESS, with_database
from mta.cli.importing import maildir_filler, mbox_filler, taken
from mta.cli.output import json_option, progress, show_one
from mta.model.address import Address
from mta.model.errors import AlreadyExists, MailError, NoSuchMailbox, NoSuchUser
from mta.transfer.give import give_maildir, give_mbox
from mta.transfer.maildir import is_maildir
from mta_hooks.backends.database import Database


@click.command()
@click.argument("address", type=ADDRESS)
@click.argument("folder_out", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["maildir", "mbox"]), default="maildir", show_default=True)
@click.option("--folder", "folders", multiple=True, metavar="NAME", help="This folder only. May be repeated.")
@json_option
@click.pass_context
def export(ctx: click.Context, address: Address, folder_out: Path, form: str, folders: tuple[str, ...], as_json: bool) -> None:
    """Write an account's mail into DIR, which is new or empty: a Maildir++ tree, or an mbox for each folder.

    Flags, keywords and dates come along; mta mailbox import reads either. The server may run.

    Example: mta mailbox export alice@example.org /srv/export/alice --format mbox
    """
    _make_empty(folder_out)

    async def work(db: Database) -> dict[str, object]:
        user = await db.directory.user(address)
        if user is None:
            raise NoSuchUser(f"{address}: no such user; mta user list shows them")
        boxes = [box for box in await db.store.mailboxes(user.id) if box.exists]
        if missing := set(folders) - {box.name for box in boxes}:
            raise NoSuchMailbox(f"{address} has no folder {min(missing)}; mta mailbox list {address} shows them")
        boxes = [box for box in boxes if not folders or box.name in folders]
        total = sum([(await db.store.status(box.id)).messages for box in boxes])
        give = give_mbox if form == "mbox" else give_maildir
        done = await give(db.store, boxes, folder_out, progress(total, "exporting"))
        return {"account": str(address), "format": form, "to": str(folder_out), "folders": len(boxes), "messages": done}

    show_one(with_database(ctx, work), as_json)


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AlreadyExists(f"{folder}: is not empty; name a folder that is new")
    except OSError as exc:
        raise MailError(f"{folder}: {exc.strerror}") from exc


@click.command("import")
@click.argument("address", type=ADDRESS)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--folder", metavar="NAME", help="Everything into this folder, made when missing.")
@json_option
@click.pass_context
def import_(ctx: click.Context, address: Address, path: Path, folder: str | None, as_json: bool) -> None:
    """Take what mta mailbox export wrote, or any Maildir or mbox; mta import has more ways. A second run adds nothing.

    Example: mta mailbox import alice@example.org /srv/export/alice
    """
    is_tree = path.is_dir() and (is_maildir(path) or next(path.rglob("cur"), None) is not None)
    taken(ctx, address, maildir_filler(path, folder) if is_tree else mbox_filler(path, folder, "mboxrd"), as_json)
