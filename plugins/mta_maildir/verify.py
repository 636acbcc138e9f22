"""``mta mailbox verify``: does every message have its file, its size, its uid?"""
# SPDX-License-Identifier: Apache-2.0

import os

from mta_maildir.account import Account
from mta_maildir.filename import sizes, split
from mta_maildir.folder import Folder


def check(account: Account) -> list[str]:
    """One line for each damage. Files that came or went since are taken over first: that is no damage."""
    damage = []
    for folder in account.folders().values():
        damage += [f"{folder.path}: {problem}" for problem in _problems(account.current(folder))]
    return damage


def _problems(folder: Folder) -> list[str]:
    found = []
    for message in folder.messages.values():
        base = split(message.name)[0]
        if message.uid >= folder.next_uid or message.modseq > folder.highest:
            found.append(f"uid {message.uid} or its modseq is not below the next")
        if folder.bases.get(base) != message.uid:
            found.append(f"uid {message.uid} shares its file with another")
        path = folder.file(message)
        try:
            size = os.stat(path).st_size
        except OSError as exc:
            found.append(f"uid {message.uid}: {message.name}: {exc.strerror}")
            continue
        if not os.access(path, os.R_OK):
            found.append(f"uid {message.uid}: {message.name}: not readable for this user")
        stated = sizes(base)[0]
        if stated is not None and stated != size:
            found.append(f"uid {message.uid}: {message.name}: {size} octets instead of {stated}")
    return found
