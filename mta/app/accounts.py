"""As whom programs of hooks, and plugins in processes of their own, may run once the server is not root any more.

Asked for by the config, while the worker is still root: the accounts for hooks, those that ``process.user`` and ``isolate.user`` name, and the
people of this machine, whose own programs deliver their mail. An account made later needs a reload.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mta.app.privileges import Account
from mta.config.sections import Config
from mta.config.yaml import read
from mta.obs.log import Log
from mta.pluginhost.confine import FIRST_UID, LAST_UID, uids_for_hooks
from mta.pluginhost.launcher import Launcher

_LARGEST = 2**20
_MOST = 10_000
"""People: bounds what a large directory service makes of the list."""


def open_launcher(config: Config, account: Account, log: Log) -> Launcher:
    """As root. What it can start is fixed from now on: the accounts above, and the one that the worker becomes."""
    launcher = Launcher(log)
    if config.hooks_dir or any("isolate" in section for section in config.plugins.values()):
        launcher.open_as_root({account.uid, *uids_for_hooks(), *_named(config), *_people()})
    return launcher


def _named(config: Config) -> Iterator[int]:
    for section in config.plugins.values():
        yield from _user_of(section.get("isolate"))
    if config.hooks_dir:
        for file in (*Path(config.hooks_dir).glob("*.yaml"), *Path(config.hooks_dir).glob("*.d/*.yaml")):
            settings = _settings(file)
            yield from _user_of(settings.get("isolate"))
            yield from _user_of(settings.get("process"))


def _user_of(confinement: Any) -> Iterator[int]:
    if isinstance(confinement, dict) and isinstance(name := confinement.get("user"), str):
        try:
            yield pwd.getpwnam(name).pw_uid
        except KeyError:
            return  # told, with file and line, by whoever wants to run as it


def _settings(file: Path) -> dict[str, Any]:
    """Of a file of root's that nobody else can write: whoever could would choose as whom to run."""
    try:
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as opened:
            found = os.fstat(opened.fileno())
            if found.st_uid != 0 or found.st_mode & 0o022:
                return {}
            value = read(opened.read(_LARGEST).decode(), str(file)).value
    except (OSError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _people() -> Iterator[int]:
    found = (entry.pw_uid for entry in pwd.getpwall() if FIRST_UID <= entry.pw_uid <= LAST_UID)
    yield from sorted(set(found))[:_MOST]
