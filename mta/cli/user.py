"""``mta user``."""
# SPDX-License-Identifier: Apache-2.0

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import click

from mta.cli.access import ADDRESS, loaded, with_database
from mta.cli.output import json_option, progress, show, show_one
from mta.cli.vetting import Vet, change_users
from mta.config.units import parse_size
from mta.directory.passwords import hash_password, scram_keys_of
from mta.model.address import Address
from mta.model.directory import User
from mta.model.errors import ConfigError, MailError, NoSuchUser
from mta_hooks.backends import extras_of
from mta_hooks.backends.app_passwords import app_passwords_of
from mta_hooks.backends.database import Database
from mta_hooks.views import UserChange

_password_option = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")


@click.group()
def user() -> None:
    """Accounts: an address with a password and mailboxes.

    Example: mta user add alice@example.org
    """


@user.command()
@click.argument("address", type=ADDRESS)
@_password_option
@click.option("--quota", metavar="SIZE", help='Octets, or "2 GiB"; none: unlimited.')
@click.pass_context
def add(ctx: click.Context, address: Address, password_stdin: bool, quota: str | None) -> None:
    """Add an account with its standard mailboxes; its domain is made when missing.

    Example: printf 's3cret\\n' | mta user add alice@example.org --password-stdin
    """
    octets = _size(quota) if quota else 0
    password = _read_password(password_stdin)
    phc = _hash(password)
    keys = scram_keys_of(password) if loaded(ctx).config.auth.scram_keys else ""

    async def work(db: Database, vet: Vet) -> None:
        await vet(address, UserChange("add", password, octets if quota else None))
        made = await db.directory.add_users([(address, phc)])
        if keys:
            await db.directory.set_scram_keys([(made[0].id, phc, keys)])
        if octets:
            await db.directory.set_quota(made[0].id, octets)

    change_users(ctx, work)


@user.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.pass_context
def import_(ctx: click.Context, file: TextIO) -> None:
    """Add many accounts, all or none. Lines of FILE: address TAB password (further fields are ignored).

    Example: mta user import users.tsv
    """
    entries = list(_entries(file))
    secrets = _secrets([password for _, password in entries], with_keys=loaded(ctx).config.auth.scram_keys)

    async def work(db: Database, vet: Vet) -> None:
        for address, password in entries:
            await vet(address, UserChange("add", password))
        hashed = [(address, phc) for (address, _), (phc, _) in zip(entries, secrets, strict=True)]
        made = await db.directory.add_users(hashed, progress(len(hashed), "adding"))
        keyed = [(u.id, phc, text) for u, (phc, text) in zip(made, secrets, strict=True) if text]
        await db.directory.set_scram_keys(keyed)

    change_users(ctx, work)
    click.echo(f"{len(entries)} users added", err=True)


def _secrets(passwords: Sequence[str], *, with_keys: bool) -> list[tuple[str, str]]:
    """(hash, SCRAM keys or "") of each: some 25 ms of work on purpose, on every core (argon2 and PBKDF2 release the GIL)."""
    tell = progress(len(passwords), "hashing")
    made: list[tuple[str, str]] = []

    def one(password: str) -> tuple[str, str]:
        return _hash(password), scram_keys_of(password) if with_keys else ""

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for secret in pool.map(one, passwords):
            made.append(secret)
            tell(len(made))
    return made


def _entries(file: TextIO) -> Iterator[tuple[Address, str]]:
    for number, line in enumerate(file, 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.rstrip("\r\n").split("\t")
        try:
            if len(fields) < 2 or not fields[1]:
                raise ValueError("must be address TAB password")
            yield Address.parse(fields[0]), fields[1]
        except ValueError as exc:
            raise click.ClickException(f"{file.name}:{number}: {exc}. Nothing was added.") from exc


@user.command()
@click.argument("address", type=ADDRESS)
@_password_option
@click.pass_context
def passwd(ctx: click.Context, address: Address, password_stdin: bool) -> None:
    """Change the password.

    Example: printf 'n3w\\n' | mta user passwd alice@example.org --password-stdin
    """
    password = _read_password(password_stdin)
    phc = _hash(password)
    with_keys = loaded(ctx).config.auth.scram_keys

    async def work(db: Database, vet: Vet) -> None:
        known = await _known(db, address)
        await vet(known.address, UserChange("password", password))
        await db.directory.set_password(known.id, phc)
        if with_keys:
            kept = app_passwords_of(db.directory)
            others = await kept.list(known.id) if kept is not None else []
            like = next((one.scram for one in others if one.scram), "")
            await db.directory.set_scram_keys([(known.id, phc, scram_keys_of(password, like))])

    change_users(ctx, work)


@user.command("list")
@click.argument("domain", default="")
@json_option
@click.pass_context
def list_(ctx: click.Context, domain: str, as_json: bool) -> None:
    """List accounts, of one domain or all.

    Example: mta user list example.org --json
    """
    found = with_database(ctx, lambda db: db.directory.users(domain))
    rows = [
        {"address": str(u.address), "enabled": u.enabled, "quota": u.quota or None, "used": u.used}
        for u in sorted(found, key=lambda u: (u.address.domain, u.address.local))
    ]
    show(rows, ("address", "enabled", "quota", "used"), as_json)


@user.command()
@click.argument("address", type=ADDRESS)
@click.pass_context
def disable(ctx: click.Context, address: Address) -> None:
    """Let nobody log in to an account, by any password. Mail still comes in; sessions that are open stay until they end.

    Example: mta user disable alice@example.org
    """
    _set_enabled(ctx, address, False)


@user.command()
@click.argument("address", type=ADDRESS)
@click.pass_context
def enable(ctx: click.Context, address: Address) -> None:
    """Undo mta user disable.

    Example: mta user enable alice@example.org
    """
    _set_enabled(ctx, address, True)


def _set_enabled(ctx: click.Context, address: Address, enabled: bool) -> None:
    async def work(db: Database, vet: Vet) -> None:
        known = await _known(db, address)
        await vet(known.address, UserChange("enable" if enabled else "disable"))
        await db.directory.set_enabled(known.id, enabled)

    change_users(ctx, work)


@user.command()
@click.argument("address", type=ADDRESS)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(ctx: click.Context, address: Address, yes: bool) -> None:
    """Delete an account and its mailboxes.

    Example: mta user delete alice@example.org --yes
    """
    if not yes:
        click.confirm(f"Delete {address} and all its mail?", abort=True)

    async def work(db: Database, vet: Vet) -> None:
        known = await _known(db, address)
        await vet(known.address, UserChange("delete"))
        await db.directory.delete_user(known.id)

    change_users(ctx, work)


@user.command()
@click.argument("address", type=ADDRESS)
@click.argument("size", required=False)
@click.option("--messages", type=click.IntRange(min=0), help="How many messages it may hold; 0: unlimited.")
@json_option
@click.pass_context
def quota(ctx: click.Context, address: Address, size: str | None, messages: int | None, as_json: bool) -> None:
    """Set how much an account may hold; 0: unlimited. Without SIZE and --messages: show what it holds.

    Example: mta user quota alice@example.org "2 GiB" --messages 100000
    """
    if size is None and messages is None:
        show_one(with_database(ctx, lambda db: _held(db, address)), as_json)
        return
    octets = None if size is None else _size(size)

    async def work(db: Database, vet: Vet) -> None:
        known = await _known(db, address)
        if octets is not None:
            await vet(known.address, UserChange("quota", quota=octets))
        if messages is not None:
            quotas = extras_of(db.store).quotas
            if quotas is None:
                fix = "give a SIZE alone, or keep mailboxes in the database."
                raise ConfigError("config", "storage.mailboxes", "mailboxes kept there have no limit of messages", fix)
            await quotas.set_message_limit(known.id, messages)
        if octets is not None:
            await db.directory.set_quota(known.id, octets)

    change_users(ctx, work)


async def _held(db: Database, address: Address) -> dict[str, object]:
    known = await _known(db, address)
    quotas = extras_of(db.store).quotas
    if quotas is None:
        [listed] = [one for one in await db.directory.users(known.address.domain) if one.id == known.id]
        return {"address": str(known.address), "quota": known.quota or None, "used": listed.used}
    usage = await quotas.usage(known.id)
    return {
        "address": str(known.address),
        "quota": usage.octets_limit or None,
        "used": usage.octets,
        "quota_messages": usage.messages_limit or None,
        "messages": usage.messages,
    }


async def _known(db: Database, address: Address) -> User:
    found = await db.directory.user(address)
    if found is None:
        raise NoSuchUser(f"{address}: no such user; mta user list shows them")
    return found


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    if not isinstance(size, int) or size < 0:
        raise click.BadParameter("must be a whole number of octets")
    return size


def _hash(password: str) -> str:
    try:
        return hash_password(password)
    except ValueError as exc:
        raise MailError(str(exc)) from exc


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise click.ClickException("standard input has no password on its first line")
        return line
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    assert isinstance(password, str)
    return password
