"""Becoming another account without losing Python's own library, when that lies where only root comes: below /root, as uv and pyenv put it.

Its folders are opened while we are root and named by these descriptors from then on; files in them are read as any account may read them.
Other folders of ``sys.path`` are not opened: what lies in them may be meant for root.
"""
# SPDX-License-Identifier: Apache-2.0

import ctypes
import os
import signal
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mta.pluginhost.spawner import PR_SET_PDEATHSIG

_LIBRARY = ("stdlib", "platstdlib", "purelib", "platlib")


def become(account: Sequence[Any] | None) -> None:
    """uid, gid and groups from now on; None: what we are."""
    if account is not None:
        uid, gid, groups = account
        _keep_library(account)
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # a change of account clears it


def _keep_library(account: Sequence[Any]) -> None:
    uid, gid, groups = account
    found = {sysconfig.get_path(name) for name in _LIBRARY}
    found |= {place for place in sys.path if place.endswith("/lib-dynload")}
    moved = {}
    for place in sorted(found):
        if os.path.isdir(place) and not may_pass(place, uid, {gid, *groups}):
            moved[place] = f"/proc/self/fd/{os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
    if not moved:
        return
    sys.path[:] = [moved.get(place, place) for place in sys.path]
    for module in list(sys.modules.values()):
        paths = getattr(module, "__path__", None)
        if isinstance(paths, list):
            paths[:] = [_below(path, moved) for path in paths]


def _below(path: str, moved: dict[str, str]) -> str:
    return next((new + path[len(old) :] for old, new in moved.items() if path.startswith(f"{old}/")), path)


def may_pass(place: str, uid: int, groups: set[int]) -> bool:
    """Can an account come to this folder?"""
    for folder in (Path(place).resolve(), *Path(place).resolve().parents):
        entry = folder.stat()
        shift = 6 if entry.st_uid == uid else 3 if entry.st_gid in groups else 0
        if not entry.st_mode >> shift & 1:
            return False
    return True
