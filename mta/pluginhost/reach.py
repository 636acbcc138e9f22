"""Python's own library for a process that gives root up, when it lies where only root comes: below /root, as uv and pyenv put it.

Its folders are opened while we are root and named by these descriptors from then on; files in them are read as any account may read them.
Other folders of ``sys.path`` are not opened: what lies in them may be meant for root.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LIBRARY = ("stdlib", "platstdlib", "purelib", "platlib")


def keep_library(account: Sequence[Any]) -> None:
    """``account``: uid, gid, groups that we are about to become. Call it as root."""
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
