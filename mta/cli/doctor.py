"""``mta doctor``: everything that can be looked at before it hurts. Changes nothing."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import shutil
import socket
import sqlite3
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from mta.app.control import ask
from mta.app.health import read_health
from mta.app.places import Places
from mta.app.rehearsal import look_on
from mta.cli.access import host_of
from mta.cli.output import json_option, show
from mta.config.load import LoadedConfig, load
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.host import HookHost

Finding = tuple[str, str, str]
"""("ok" | "warn" | "fail", what, text)"""
_RESULTS = {"ok": "ok", "degraded": "warn", "failed": "fail"}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Look for what would go wrong: config, names, disk, certificate, plugins, ports. Exit status 1 when something fails.

    Example: mta doctor
    """
    found = list(_findings(ctx.find_root().obj))
    show([{"result": r, "what": w, "finding": t} for r, w, t in found], ("result", "what", "finding"), as_json)
    if any(result == "fail" for result, _, _ in found):
        sys.exit(1)


def _findings(file: str | None) -> Iterator[Finding]:
    try:
        loaded = load(file)
    except ConfigError as exc:
        for line in str(exc).splitlines():
            yield "fail", "config", line
        return
    yield "ok", "config", loaded.file
    yield from _name(loaded)
    yield from _disk(loaded)
    yield from _certificate(loaded)
    try:
        host = host_of(loaded)
    except ConfigError as exc:
        yield "fail", "plugins", str(exc)
    else:
        yield from _plugins(host)
        yield from _kept(loaded, host)
    yield from _library()
    yield from _running(loaded)


def _name(loaded: LoadedConfig) -> Iterator[Finding]:
    name = loaded.config.hostname
    if "." not in name:
        yield "warn", "hostname", f"{name} is not a full name; other servers may refuse our EHLO. Set hostname."
    else:
        yield "ok", "hostname", name
    if not loaded.config.domains:
        yield "warn", "domains", "the config names none; those added by command count as well"
    if loaded.config.postmaster is None:
        yield "warn", "postmaster", "not set: mail to it is refused where no account or alias has the name (RFC 5321 §4.5.1)"
    else:
        yield "ok", "postmaster", loaded.config.postmaster


def _disk(loaded: LoadedConfig) -> Iterator[Finding]:
    folder = Path(loaded.config.data_dir)
    nearest = next(p for p in [folder, *folder.parents] if p.exists())
    if not os.access(nearest, os.W_OK):
        yield "fail", "data_dir", f"{nearest} is not writable for {os.geteuid()}"
        return
    free = shutil.disk_usage(nearest).free
    reserve = loaded.config.storage.reserve
    text = f"{folder}: {free // 2**20} MiB free"
    yield ("fail", "data_dir", f"{text}, below storage.reserve: mail is refused") if free < reserve else ("ok", "data_dir", text)


def _certificate(loaded: LoadedConfig) -> Iterator[Finding]:
    tls = loaded.config.tls
    if tls.certificate is None:
        yield "warn", "tls", "no certificate: a self-signed one is made, which clients refuse"
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        from cryptography import x509

        certificate = x509.load_pem_x509_certificate(Path(tls.certificate).read_bytes())
    except (OSError, ValueError) as exc:
        yield "fail", "tls", f"{tls.certificate}: {exc}"
        return
    left = (certificate.not_valid_after_utc.timestamp() - time.time()) / 86400
    yield ("fail" if left < 0 else "warn" if left < 14 else "ok"), "tls", f"{tls.certificate}: {left:.0f} days left"


def _plugins(host: HookHost) -> Iterator[Finding]:
    for plugin in host.health():
        if plugin.state == "failed":
            yield "fail", f"plugin {plugin.name}", plugin.reason
        else:
            yield "ok", f"plugin {plugin.name}", plugin.version or plugin.kind


def _kept(loaded: LoadedConfig, host: HookHost) -> Iterator[Finding]:
    """What plugins failed for good."""

    async def look() -> tuple[int, int]:
        async with look_on(loaded, host) as database:
            stats = await database.queue.stats(now=time.time())
            return stats["error"], (await database.outbox.count())["dead"]

    try:
        held, dead = asyncio.run(look())
    except (ConfigError, TemporaryFailure) as exc:
        yield "warn", "database", f"cannot be looked at: {exc}"
        return
    text = f"{held} recipients that a plugin failed: mta queue list --state error"
    yield ("warn", "error hold", text) if held else ("ok", "error hold", "empty")
    text = f"{dead} notifications were given up: mta hooks dead"
    yield ("warn", "notifications", text) if dead else ("ok", "notifications", "none was given up")


def _library() -> Iterator[Finding]:
    try:
        from pysqlite3 import dbapi2 as driver
    except ImportError:
        driver = sqlite3
    version = tuple(int(part) for part in driver.sqlite_version.split("."))
    good = (
        version >= (3, 51, 3)
        or (version[:2] == (3, 50) and version >= (3, 50, 7))
        or (version[:2] == (3, 44) and version >= (3, 44, 6))
    )
    text = f"SQLite {driver.sqlite_version}"
    yield ("ok", "sqlite", text) if good else ("warn", "sqlite", f"{text} has a WAL bug that can damage data; install pysqlite3")


def _running(loaded: LoadedConfig) -> Iterator[Finding]:
    try:
        answer = ask(Places(loaded.config.data_dir).control, "status", 5.0)
    except OSError as exc:
        yield "warn", "server", f"cannot be asked: {exc}"
        return
    if answer is not None:
        yield "ok", "server", "runs"
        for name, health in read_health(Places(loaded.config.data_dir).health, time.time()).items():
            result = _RESULTS.get(health["state"], "fail")
            yield result, f"health of {name}", health["text"] or health["state"]
        return
    yield "ok", "server", "does not run"
    for listener in loaded.config.listen:
        yield from _port(listener.url)


def _port(url: str) -> Iterator[Finding]:
    host, _, port = url.partition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, int(port)))
        except OSError as exc:
            yield "fail", url, exc.strerror or "cannot be bound"
        else:
            yield "ok", url, "free"
