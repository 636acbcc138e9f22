"""``mta backup`` and ``mta restore``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mta import __version__
from mta.app import keeping
from mta.app.backends import IN_DATABASE, make_database, scheme_of
from mta.app.control import ask
from mta.app.places import Places
from mta.app.privileges import account_of
from mta.cli.access import host_of, loaded
from mta.cli.failure import DATAERR
from mta.cli.output import json_option, progress, show_one, stamp
from mta.config.load import LoadedConfig
from mta.model.errors import AlreadyExists, ConfigError, MailError
from mta_hooks.backends.backup import BackedUp, backed_up
from mta_hooks.backends.database import Database, DatabaseOptions


@click.command()
@click.argument("dest", type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-verify", is_flag=True, help="Do not check the copy: quicker, and you will not know.")
@json_option
@click.pass_context
def backup(ctx: click.Context, dest: Path, no_verify: bool, as_json: bool) -> None:
    """Copy everything into DEST while the server runs: one moment of the database, large bodies, config, keys. The copy is checked.

    DEST is new or has an earlier backup, of which bodies that have not changed are kept; it holds until the new one is complete.
    Exit status 65 when the check finds damage.

    Example: mta backup /srv/backup/mta
    """
    config = loaded(ctx)
    if dest.absolute().is_relative_to(Path(config.config.data_dir).absolute()):
        raise click.BadParameter("lies in data_dir; a backup belongs on another disk", param_hint="DEST")
    _make(dest)
    found = asyncio.run(_back_up(config, dest, check=not no_verify))
    damage = found.pop("damage")
    show_one(found | ({"damage": damage} if damage and as_json else {}), as_json)
    if damage:
        for line in damage:
            click.echo(f"mta: the copy is damaged: {line}", err=True)
        click.echo("mta: so is the original, probably: see mta mailbox verify. The earlier backup, if any, was kept", err=True)
        sys.exit(DATAERR)


def _make(dest: Path) -> None:
    try:
        dest.mkdir(mode=0o700, parents=True, exist_ok=True)
        (dest / keeping.DATABASE).mkdir(mode=0o700, exist_ok=True)
        if not (dest / keeping.MANIFEST).exists() and {entry.name for entry in dest.iterdir()} - _OURS:
            raise AlreadyExists(f"{dest}: is not empty and no backup of ours; name a folder that is new")
    except OSError as exc:
        raise MailError(f"{exc.filename or dest}: {exc.strerror}") from exc


_OURS = {keeping.DATABASE, "config", "config.new", "files", "files.new", f"{keeping.MANIFEST}.new"}


async def _back_up(config: LoadedConfig, dest: Path, *, check: bool) -> dict[str, Any]:
    began = time.time()
    database, able = _able(config, read_only=True)
    try:
        await database.open()
    except FileNotFoundError as exc:
        raise MailError(f"{exc}: there is no database yet; nothing to back up") from exc
    try:
        copied = await able.back_up(str(dest / keeping.DATABASE), _bars(), check=check)
    finally:
        await database.close()
    if not copied.damage:
        data_dir = Path(config.config.data_dir)
        files = {Path(str(path).lstrip("/")): path for path in keeping.config_files(config)}
        keeping.replace_tree(dest / "config", files)
        keeping.replace_tree(dest / "files", {path: data_dir / path for path in keeping.data_files(data_dir)})
        manifest = {
            "version": __version__,
            "made": began,
            "hostname": config.config.hostname,
            "config": config.file,
        }
        keeping.write_manifest(dest, manifest | {"database": scheme_of(config.config.database)})
    left_out = ["the full-text index, which is made anew"]
    if config.config.storage.mailboxes != IN_DATABASE:
        left_out.append(f"mailboxes, which are at {config.config.storage.mailboxes}: copy them with a tool for files")
    checked = "not" if copied.damage is None or not check else f"{len(copied.damage)} damages"
    return {
        "to": str(dest),
        "seconds": round(time.time() - began, 1),
        "octets": copied.octets,
        "bodies_copied": copied.copied,
        "bodies_kept": copied.kept,
        "bodies_removed": copied.removed,
        "checked": "sound" if checked == "0 damages" else checked,
        "not_included": left_out,
        "damage": list(copied.damage or ()),
    }


@click.command()
@click.argument("src", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Even where there is data: SQLite's is moved aside, PostgreSQL's is replaced.")
@json_option
@click.pass_context
def restore(ctx: click.Context, src: Path, force: bool, as_json: bool) -> None:
    """Put a backup where the config says. The server must not run; the data folder must be empty, or --force.

    The config itself is not overwritten: what it was lies in SRC/config.

    Example: mta restore /srv/backup/mta
    """
    config = loaded(ctx)
    manifest = keeping.read_manifest(src)
    data_dir = Path(config.config.data_dir)
    places = Places(config.config.data_dir)
    try:
        running = ask(places.control, "status", 5.0) is not None
    except OSError:
        running = True
    if running:
        raise MailError(f"a server runs on {data_dir}; stop it first")
    aside = data_dir / f"before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
    found = asyncio.run(_restore(config, src, aside, force=force))
    values = {"from": str(src), "made": stamp(manifest["made"]), "data_dir": str(data_dir), **found}
    show_one(values | ({"moved_aside": str(aside)} if aside.exists() else {}), as_json)


async def _restore(config: LoadedConfig, src: Path, aside: Path, *, force: bool) -> dict[str, Any]:
    data_dir = Path(config.config.data_dir)
    database, able = _able(config)
    if not force and (await able.is_in_use() or keeping.data_files(data_dir)):
        raise AlreadyExists(f"{data_dir}: has data already; --force replaces it")
    places = Places(config.config.data_dir)
    account = account_of(config.config.user)
    try:
        places.prepare()
        await able.restore(str(src / keeping.DATABASE), aside=str(aside), progress=_bars())
        for path in keeping.data_files(src / "files"):
            keeping.copy(src / "files" / path, data_dir / path)
        places.prepare(account)
    except OSError as exc:
        raise MailError(f"{exc.filename or data_dir}: {exc.strerror}") from exc
    await database.open()  # an older schema is brought up to date
    try:
        damage = await database.verify(_bars("checking"))
        users = await database.directory.users()
    finally:
        await database.close()
    places.prepare(account)
    if damage:
        raise MailError("\n".join(["restored, but damaged:", *damage]))
    return {"accounts": len(users), "checked": "sound"}


def _able(config: LoadedConfig, *, read_only: bool = False) -> tuple[Database, BackedUp]:
    database = make_database(config, host_of(config), DatabaseOptions(config.config.data_dir, read_only=read_only, reserve=0))
    able = backed_up(database)
    if able is None:
        problem = "this database cannot be backed up by mta"
        raise ConfigError(config.where("database"), "database", problem, "use the tools that come with it.")
    return database, able


def _bars(what: str = "") -> Callable[[int, int], None]:
    """A bar for each total."""
    bars: dict[int, Callable[[int], None]] = {}

    def tell(done: int, total: int) -> None:
        if total not in bars:
            bars[total] = progress(total, what or "copying and checking")
        bars[total](done)

    return tell
