"""Under which account, and with which limits, a program of a hook runs. Never as root.

    process: {user: mta-hook, memory: 1 GiB, cpu: 60s, file_size: 4 GiB, files: 256, processes: 64}

A server that was not started as root cannot become anybody else: then programs run as its own account, and a ``user`` that is
another is refused rather than passed over.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import pwd
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mta.config.units import Seconds, Size
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.launcher import Launcher

ACCOUNTS = ("mta-hook", "nobody")
"""Tried in this order when no ``user`` is given."""
FIRST_UID, LAST_UID = 1000, 60000
"""Accounts of people: only as one of these does a hook run for its recipient."""


class Confinement(BaseModel):
    """``cpu`` bounds one-shot programs only: those that go on running use what they need."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Annotated[str, Field(description="Account to run as.")] = ""
    memory: Annotated[Size, Field(ge=2**24, description="Address space of one process.")] = 2**30
    cpu: Annotated[Seconds, Field(ge=1, le=86400, description="Processor time of one call.")] = 60.0
    file_size: Annotated[Size, Field(ge=4096, description="Largest file it may write.")] = 2**32
    files: Annotated[int, Field(ge=16, le=65536, description="Open files.")] = 256
    processes: Annotated[int, Field(ge=1, le=4096, description="Processes and threads.")] = 64

    def limits(self, *, one_shot: bool) -> dict[str, int]:
        """For the spawner."""
        out = {"AS": self.memory, "FSIZE": self.file_size, "NOFILE": self.files, "NPROC": self.processes}
        return {**out, "CPU": int(self.cpu)} if one_shot else out


class Account(NamedTuple):
    """``groups`` are the supplementary ones."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


def account_for(user: str, launcher: Launcher) -> Account:
    """The account that programs run as; our own when we cannot become another. Raises PluginRefused."""
    for name in (user,) if user else ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if launcher.may_become(entry.pw_uid) or (entry.pw_uid == os.geteuid() and entry.pw_uid != 0):
            return _account(entry)
        if entry.pw_uid == 0:
            raise PluginRefused("programs of hooks never run as root; name another user")
    own = _by_uid(os.geteuid())
    if own.uid == 0:
        raise PluginRefused(f"there is no account {user or ' or '.join(ACCOUNTS)}; make one")
    if user:
        raise PluginRefused(f"the server runs as {own.name} and cannot become {user}; leave user out, or start the server as root")
    return own


def uids_for_hooks() -> list[int]:
    """For ``Launcher.open_as_root``: those of ``ACCOUNTS`` that there are."""
    found = []
    for name in ACCOUNTS:
        try:
            found.append(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return found


def account_of_recipient(local: str, launcher: Launcher) -> Account | None:
    """The person's account of this name; None when there is none, or when we cannot become it. May block on the name service."""
    if not local.isascii() or not local.isprintable():
        return None
    try:
        entry = pwd.getpwnam(local)
    except KeyError:
        return None
    return _account(entry) if FIRST_UID <= entry.pw_uid <= LAST_UID and launcher.may_become(entry.pw_uid) else None


def credentials(account: Account) -> tuple[int, int, tuple[int, ...]] | None:
    """What the spawner must become; None: it is that already."""
    return None if account.uid == os.geteuid() else (account.uid, account.gid, account.groups)


def _account(entry: pwd.struct_passwd) -> Account:
    groups = tuple(g for g in os.getgrouplist(entry.pw_name, entry.pw_gid) if g != 0)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)


def _by_uid(uid: int) -> Account:
    try:
        return _account(pwd.getpwuid(uid))
    except KeyError:  # an account that exists in no database, as in containers
        return Account(str(uid), uid, os.getegid(), (), "/", "/bin/sh")
