"""What one generation of workers runs with: config, sockets, TLS; made whole, or not at all, at start and at reload."""
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from socket import socket

from mta.app import sockets
from mta.app.places import Places
from mta.app.privileges import Account, account_of, raise_file_limit
from mta.app.sockets import Listening
from mta.config.load import LoadedConfig
from mta.model.errors import ConfigError
from mta.net.tls import Pair, ServerContext, pair_of, server_context
from mta.obs import log as obs_log
from mta.obs.log import Log
from mta.route.router import Router


@dataclass(frozen=True, slots=True)
class Setting:
    loaded: LoadedConfig
    listening: Sequence[Listening]
    tls: ServerContext
    pair: Pair
    account: Account | None

    def close_others(self, listening: Iterable[Listening]) -> None:
        """Close those that are not ours."""
        ours = {one.key for one in self.listening}
        for one in listening:
            if one.key not in ours:
                one.sock.close()


def prepare(loaded: LoadedConfig, places: Places, kept: Sequence[Listening], handed: Iterable[socket], log: Log) -> Setting:
    """Raises ConfigError; then nothing has changed, the log's destination excepted."""
    start_log(loaded)
    os.umask(0o077)
    raise_file_limit()
    account = account_of(loaded.config.user)
    if account is None and os.geteuid() == 0 and loaded.config.user != "root":
        log.warning("user.missing", user=loaded.config.user, fix="make the account, or set user; running as root meanwhile")
    try:
        places.prepare(account)
    except OSError as exc:
        fix = "start as root, or make the folder for the account that starts the server."
        raise loaded.mistake("data_dir", f"{exc.filename or loaded.config.data_dir}: {exc.strerror}", fix) from exc
    check_routes(loaded)
    check_http(loaded)
    tls = server_context(loaded, log)
    listening = sockets.bind(loaded, places.sendmail, {one.key: one.sock for one in kept}, handed)
    return Setting(loaded, listening, tls, pair_of(loaded), account)


def check_routes(loaded: LoadedConfig) -> None:
    """Raises ConfigError for a next hop that cannot be one."""
    try:
        Router(loaded.config, _NoHooks())
    except ConfigError as exc:
        raise loaded.mistake(exc.key, exc.problem, exc.fix) from exc


def check_http(loaded: LoadedConfig) -> None:
    """Raises ConfigError for an http listener without the libraries that serve it."""
    for i, entry in enumerate(loaded.config.listen):
        if not entry.url.lower().startswith("http"):
            continue
        missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
        if missing:
            problem = f"{entry.url} needs {' and '.join(missing)}, which come with the extra http"
            raise loaded.mistake(f"listen[{i}]", problem, "install mta-server[http] in the place of mta-server.")


class _NoHooks:
    route = None


def start_log(loaded: LoadedConfig) -> None:
    """Send the log where this config says. Raises ConfigError."""
    wanted = loaded.config.log
    try:
        obs_log.configure(wanted.level, wanted.format, wanted.file)
    except OSError as exc:
        raise loaded.mistake("log.file", f"{wanted.file}: {exc.strerror}", "make its folder, writable for us.") from exc
