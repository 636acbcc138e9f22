"""Who we run as. The supervisor keeps what it was started with (it reads keys and binds ports at reload); workers drop it."""
# SPDX-License-Identifier: Apache-2.0

import os
import pwd
import resource
from typing import NamedTuple

_FILES = 1 << 16


class Account(NamedTuple):
    name: str
    uid: int
    gid: int


def account_of(user: str) -> Account | None:
    """The account that workers become; None when not started as root, when it does not exist, or when it is root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return Account(user, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None


def become(account: Account) -> None:
    """For good, groups included."""
    os.initgroups(account.name, account.gid)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def raise_file_limit() -> int:
    """Ask for as many open files as 10,000 connections need. Returns the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(_FILES, hard) if hard != resource.RLIM_INFINITY else _FILES)
    if wanted != soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
    return wanted
