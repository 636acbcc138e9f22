"""``mta import``: mail of other programs and servers into accounts."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click

from mta.app.places import Places
from mta.cli.access import ADDRESS, database, loaded
from mta.cli.output import json_option, progress, show_one
from mta.model.address import Address
from mta.model.errors import MailError, NoSuchUser
from mta.transfer import imap as imap_source
from mta.transfer import maildir as maildir_source
from mta.transfer import mbox as mbox_source
from mta.transfer.take import Folder, Found, Summary, Taker, Target, mailbox_name
from mta.wire.mbox import Quoting

Fill = Callable[[Taker, str], Awaitable[None]]

_path = click.argument("path", type=click.Path(exists=True, path_type=Path))
_folder = click.option("--folder", metavar="NAME", help="Everything into this folder, made when missing.")


@click.group("import")
def import_() -> None:
    """Mail of other programs and servers, into an account that exists. The server may run.

    What is there already is not added again, so a command that was interrupted, or failed, is simply run again.

    Example: mta import maildir alice@example.org /home/alice/Maildir
    """


@import_.command()
@click.argument("address", type=ADDRESS)
@_path
@_folder
@click.option(
    "--quoting", type=click.Choice(["mboxrd", "mboxo"]), default="mboxrd", help="How lines that begin with From are quoted."
)
@json_option
@click.pass_context
def mbox(ctx: click.Context, address: Address, path: Path, folder: str | None, quoting: Quoting, as_json: bool) -> None:
    """Take an mbox file into the inbox, or a tree of them: each into the folder of its name.

    Flags come along as mutt, Dovecot and Thunderbird write them. The date is that of the From_ line.

    Example: mta import mbox alice@example.org /var/mail/alice --folder INBOX
    """
    taken(ctx, address, mbox_filler(path, folder, quoting), as_json)


@import_.command()
@click.argument("address", type=ADDRESS)
@_path
@_folder
@json_option
@click.pass_context
def maildir(ctx: click.Context, address: Address, path: Path, folder: str | None, as_json: bool) -> None:
    """Take a Maildir with its folders (Maildir++, or folders within folders), flags, keywords and dates.

    Example: mta import maildir alice@example.org /home/alice/Maildir
    """
    taken(ctx, address, maildir_filler(path, folder), as_json)


@import_.command()
@click.argument("address", type=ADDRESS)
@click.argument("url")
@click.option("--user", "login", metavar="NAME", help="The account there; default: ADDRESS.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read it from this file's first line."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out folders: * and ? as in a shell. May be repeated.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Authorities to trust, instead of the system's.")
@click.option("--plaintext", is_flag=True, help="imap:// without TLS: only on a network that is yours alone.")
@json_option
@click.pass_context
def imap(
    ctx: click.Context,
    address: Address,
    url: str,
    login: str | None,
    password_stdin: bool,
    password_file: Path | None,
    exclude: tuple[str, ...],
    ca_file: str | None,
    plaintext: bool,
    as_json: bool,
) -> None:
    """Take an account of another server: every folder with flags, dates and special use. Nothing is changed there.

    URL is imaps://host[:port], or imap://host[:port] for STARTTLS, without which nothing is sent.

    Example: mta import imap alice@example.org imaps://imap.old.example --user alice --password-file old.pw
    """
    try:
        host, port, tls = imap_source.parse_url(url, plaintext=plaintext)
    except ValueError as exc:
        raise click.BadParameter(f"{url!r}: {exc}", param_hint="URL") from exc
    password = _password(password_stdin, password_file)
    context = ssl.create_default_context(cafile=ca_file)
    account = imap_source.Account(host, port, tls, login or str(address), password, context)

    async def fill(taker: Taker, _tmp: str) -> None:
        client = await asyncio.to_thread(imap_source.Client, account)
        try:
            for remote in await asyncio.to_thread(client.folders, exclude):
                await imap_source.pull(client, remote, taker, _counting(taker, remote.folder.name))
        finally:
            await asyncio.to_thread(client.close)

    taken(ctx, address, fill, as_json)


def _password(from_stdin: bool, file: Path | None) -> str:
    if from_stdin and file is not None:
        raise click.UsageError("--password-stdin or --password-file, not both")
    if from_stdin:
        found = sys.stdin.readline().rstrip("\r\n")
    elif file is not None:
        found = file.read_text("utf-8").partition("\n")[0].rstrip("\r")
    else:
        found = click.prompt("Password there", hide_input=True, err=True)
    if not found:
        raise click.UsageError("the password is empty")
    return found


def mbox_filler(path: Path, folder: str | None, quoting: Quoting) -> Fill:
    found = list(mbox_source.folders(path)) if path.is_dir() else [(Folder("INBOX"), path)]
    if not found:
        raise MailError(f"{path}: no mbox file in it or below")

    async def fill(taker: Taker, tmp: str) -> None:
        for one, file in found:
            with _opened(file) as octets:
                tell = progress(os.fstat(octets.fileno()).st_size, f"{file.name}, octets")
                await _take(taker, _into(one, folder), mbox_source.messages(octets, str(file), tmp, quoting, tell))

    return fill


def maildir_filler(path: Path, folder: str | None) -> Fill:
    async def fill(taker: Taker, _tmp: str) -> None:
        for one, at in maildir_source.folders(path):
            files = maildir_source.entries(at)
            _counting(taker, one.name)(len(files))
            await _take(taker, _into(one, folder), maildir_source.messages(at, files))

    return fill


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as exc:
        raise MailError(f"{file}: {exc.strerror}") from exc


def _into(found: Folder, folder: str | None) -> Folder:
    return found if folder is None else Folder(mailbox_name(folder.split("/")))


async def _take(taker: Taker, folder: Folder, messages: Iterator[Found]) -> None:
    target: Target = await taker.open(folder)
    for message in messages:
        await target.add(message)
    await target.flush()


def _counting(taker: Taker, name: str) -> Callable[[int], None]:
    """Shows how far a folder is, once its count is known."""

    def start(total: int) -> None:
        before = taker.summary.added + taker.summary.present + len(taker.summary.skipped)
        bar = progress(total, name)
        taker.tell = lambda done: bar(done - before)

    return start


def taken(ctx: click.Context, address: Address, fill: Fill, as_json: bool) -> None:
    """Run ``fill`` for the account, and say what came of it; also when it fails, on standard error."""
    config = loaded(ctx)
    summary = Summary()

    async def run() -> None:
        async with database(config) as db:
            user = await db.directory.user(address)
            if user is None:
                raise NoSuchUser(f"{address}: no such user; mta user add makes one")
            await fill(Taker(db.store, user, summary), str(Places(config.config.data_dir).tmp))

    try:
        asyncio.run(run())
    except BaseException:
        click.echo(f"mta: until then {summary.added} messages were added, {summary.present} were there", err=True)
        raise
    for line in summary.skipped:
        click.echo(f"mta: not taken: {line}", err=True)
    values: dict[str, object] = {"account": str(address), **asdict(summary)}
    if not as_json:
        values["skipped"] = len(summary.skipped)
    show_one(values, as_json)
