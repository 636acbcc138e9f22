"""``mta app-password``."""
# SPDX-License-Identifier: Apache-2.0

import time

import click

from mta.cli.access import ADDRESS, loaded, with_database
from mta.cli.output import json_option, show, show_one, stamp
from mta.directory.app_passwords import SERVICES, make, tag_of
from mta.directory.passwords import hash_password, scram_keys_of
from mta.model.address import Address
from mta.model.directory import User
from mta.model.errors import AlreadyExists, ConfigError, NoSuchUser
from mta_hooks.backends.app_passwords import AppPassword, AppPasswords, app_passwords_of
from mta_hooks.backends.database import Database

_LONGEST_NAME = 100


@click.group("app-password")
def app_password() -> None:
    """Further passwords of accounts, one for each program: made by the server, each revoked by itself.

    Example: mta app-password add alice@example.org phone --service imap --service smtp
    """


@app_password.command()
@click.argument("user", type=ADDRESS)
@click.argument("name")
@click.option(
    "--service", "services", multiple=True, type=click.Choice(SERVICES), help="Only for this; may be repeated. Default: all."
)
@json_option
@click.pass_context
def add(ctx: click.Context, user: Address, name: str, services: tuple[str, ...], as_json: bool) -> None:
    """Make a password and print it: it cannot be shown again.

    Example: mta app-password add alice@example.org "Alice's phone" --service imap --service smtp
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise click.BadParameter(f"must have 1 to {_LONGEST_NAME} printable characters", param_hint="NAME")
    with_keys = loaded(ctx).config.auth.scram_keys

    async def work(db: Database) -> str:
        known, kept = await _kept(db, user)
        others = await kept.list(known.id)
        password = make({one.tag for one in others})
        keys = ""
        if with_keys:
            like = next((one.scram for one in others if one.scram), "") or await db.directory.scram_keys(known.id) or ""
            keys = scram_keys_of(password, like)
        made = AppPassword(name, tag_of(password), hash_password(password), keys, tuple(sorted(services)), time.time())
        try:
            await kept.add(known.id, made)
        except AlreadyExists as exc:
            raise AlreadyExists(f"{user} has an app password {name!r} already; revoke it first") from exc
        return password

    password = with_database(ctx, work, "directory")
    if as_json:
        show_one({"account": str(user), "name": name, "services": sorted(services), "password": password}, True)
    else:
        click.echo(password)


@app_password.command("list")
@click.argument("user", type=ADDRESS)
@json_option
@click.pass_context
def list_(ctx: click.Context, user: Address, as_json: bool) -> None:
    """List an account's app passwords: for what they are, and when one was last used, to the hour (logins by SCRAM do not tell).

    Example: mta app-password list alice@example.org --json
    """

    async def work(db: Database) -> list[AppPassword]:
        known, kept = await _kept(db, user)
        return await kept.list(known.id)

    found = with_database(ctx, work)
    rows: list[dict[str, object]] = [
        {
            "name": one.name,
            "services": list(one.services) if as_json else " ".join(one.services) or "all",
            "made": one.made if as_json else stamp(one.made),
            "used": one.used if as_json or one.used is None else stamp(one.used),
        }
        for one in found
    ]
    show(rows, ("name", "services", "made", "used"), as_json)


@app_password.command()
@click.argument("user", type=ADDRESS)
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="All of the account's.")
@click.pass_context
def revoke(ctx: click.Context, user: Address, name: str | None, every: bool) -> None:
    """Revoke one, or all: the next login with it fails. Sessions that are open stay. Exit status 67: there is none of this name.

    Example: mta app-password revoke alice@example.org phone
    """
    if every is (name is not None):
        raise click.UsageError("say NAME, or --all")

    async def work(db: Database) -> None:
        known, kept = await _kept(db, user)
        for one in [one.name for one in await kept.list(known.id)] if name is None else [name]:
            try:
                await kept.revoke(known.id, one)
            except NoSuchUser as exc:
                raise NoSuchUser(f"{user} has no app password {one!r}; mta app-password list {user} shows them") from exc

    with_database(ctx, work, "directory")


async def _kept(db: Database, address: Address) -> tuple[User, AppPasswords]:
    known = await db.directory.user(address)
    if known is None:
        raise NoSuchUser(f"{address}: no such user; mta user list shows them")
    kept = app_passwords_of(db.directory)
    if kept is None:
        raise ConfigError("config", "database", "this database keeps no app passwords", "use sqlite or postgresql.")
    return known, kept
