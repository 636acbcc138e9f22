"""Changes of ours to a folder: messages come, change letters, go. In a thread that holds the account's lock, after ``sync``.

Order of a message that comes: its octets (durable before), its line in the uidlist, its place in ``new`` or ``cur``, that folder
flushed, the journal. A crash between two of these leaves a message that the next ``sync`` takes over, with the same uid, or a line
without a file, which does no harm.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mta.model.ids import ModSeq
from mta_maildir import disk
from mta_maildir import uidlist as uidlist_file
from mta_maildir.filename import fresh, join, sizes, split
from mta_maildir.folder import Folder, Grave, Message, grave_record
from mta_maildir.lock import dotlock
from mta_maildir.sync import reread_uidlist

How = Literal["rename", "link"]


@dataclass(slots=True)
class Arrival:
    """``how``: take the file from where it is, or let it be in both places. ``letters``: of its old name, for those nobody knows."""

    source: str
    how: How
    base: str
    flags: int
    words: list[str]
    date: int
    size: int
    letters: str = ""


def arrival_of(folder: Folder, message: Message, how: How) -> Arrival:
    """The same message somewhere else."""
    base, letters = split(message.name)
    physical = sizes(base)[0]
    if how == "link" or physical is None:
        base = fresh(time.time(), os.stat(folder.file(message)).st_size if physical is None else physical, message.size)
    return Arrival(folder.file(message), how, base, message.flags, message.keywords.split(), message.date, message.size, letters)


def put(folder: Folder, arrivals: Sequence[Arrival]) -> list[Message]:
    """All or none. Durable on return."""
    if not arrivals:
        return []
    placed: list[tuple[Arrival, str]] = []
    messages: list[Message] = []
    uids = _take_uids(folder, arrivals)
    modseq = folder.highest + 1
    try:
        for arrival, uid in zip(arrivals, uids, strict=True):
            letters = folder.letters(arrival.flags, arrival.words, arrival.letters)
            new = not letters
            name = arrival.base if new else join(arrival.base, letters)
            target = f"{folder.path}/{'new' if new else 'cur'}/{name}"
            _place(arrival, target, folder.mode)
            placed.append((arrival, target))
            words = " ".join(sorted(arrival.words))
            messages.append(Message(uid, modseq, arrival.date, arrival.size, name, new=new, flags=arrival.flags, keywords=words))
        for part in {os.path.dirname(target) for _, target in placed}:
            disk.flush_folder(part)
    except OSError:
        for arrival, target in placed:
            with contextlib.suppress(OSError):
                if arrival.how == "rename":
                    os.rename(target, arrival.source)
                else:
                    os.unlink(target)
        raise
    for message in messages:
        folder.put(message, split(message.name)[0])
    folder.write([folder.record(message) for message in messages])
    return messages


def _take_uids(folder: Folder, arrivals: Sequence[Arrival]) -> list[int]:
    with dotlock(f"{folder.path}/{uidlist_file.NAME}", folder.mode):
        if folder.look()[2:5] != folder.listed:
            reread_uidlist(folder)
        uidlist = folder.uidlist
        uidlist.next_uid = max(uidlist.next_uid, folder.next_uid)
        lines = []
        for arrival in arrivals:
            if arrival.base in uidlist.uids:  # it was here before, under another uid
                physical, virtual = sizes(arrival.base)
                arrival.base = fresh(time.time(), arrival.size if physical is None else physical, virtual)
            uidlist.add(arrival.base, uidlist.next_uid)
            lines.append(uidlist.line(arrival.base, uidlist.uids[arrival.base], arrival.base))
        uidlist_file.append(folder.path, lines, folder.mode)
        folder.listed = folder.look()[2:5]
    return [uidlist.uids[arrival.base] for arrival in arrivals]


def _place(arrival: Arrival, target: str, mode: int) -> None:
    if arrival.how == "rename":
        os.rename(arrival.source, target)
        return
    try:
        os.link(arrival.source, target)
    except OSError:  # no hard links here, or too many of this file
        if not os.path.exists(arrival.source):
            raise
        _copy(arrival.source, target, mode)


def _copy(source: str, target: str, mode: int) -> None:
    temporary = os.path.join(os.path.dirname(os.path.dirname(target)), "tmp", os.path.basename(target))
    os.close(disk.create(temporary, os.O_TRUNC, mode))
    shutil.copy2(source, temporary)
    fd = os.open(temporary, os.O_RDONLY)
    try:
        disk.flush(fd, temporary)
    finally:
        os.close(fd)
    os.rename(temporary, target)


def restate(folder: Folder, states: Iterable[tuple[Message, int, str]]) -> ModSeq:
    """Give messages these flags and keywords; those whose file has just gone are left to the next ``sync``."""
    modseq = folder.highest + 1
    records, parts = [], set[str]()
    for message, flags, words in states:
        base, before = split(message.name)
        letters = folder.letters(flags, words.split(), before)
        if letters != before or message.new:
            name = join(base, letters)
            try:
                os.rename(folder.file(message), f"{folder.path}/cur/{name}")
            except FileNotFoundError:
                continue
            parts |= {"new", "cur"} if message.new else {"cur"}
            message.name, message.new = name, False
        message.flags, message.keywords, message.modseq = flags, words, modseq
        folder.put(message, base)
        records.append(folder.record(message))
    for part in parts:
        disk.flush_folder(f"{folder.path}/{part}")
    folder.highest = modseq
    folder.write([*records, f"N\t{folder.next_uid}\t{modseq}"])
    return ModSeq(modseq)


def remove(folder: Folder, messages: Sequence[Message], *, unlink: bool = True) -> ModSeq:
    """``unlink`` False: the files have gone elsewhere already."""
    modseq, now = folder.highest + 1, time.time()
    for message in messages if unlink else ():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder.file(message))
    for part in {"new" if message.new else "cur" for message in messages}:
        disk.flush_folder(f"{folder.path}/{part}")
    graves = [Grave(message.uid, modseq, now, split(message.name)[0]) for message in messages]
    for grave in graves:
        folder.bury(grave)
    folder.write([grave_record(grave) for grave in graves])
    return ModSeq(modseq)


def claim_recent(folder: Folder) -> int:
    """The first recent uid; then none is, and what lay in ``new`` lies in ``cur``, as for every reader of a Maildir."""
    first = folder.recent
    waiting = [message for message in folder.messages.values() if message.new]
    if first == folder.next_uid and not waiting:
        return first
    records = []
    for message in waiting:
        name = join(split(message.name)[0], split(message.name)[1])
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder.file(message), f"{folder.path}/cur/{name}")
            message.name, message.new = name, False
            records.append(folder.record(message))
    folder.recent = folder.next_uid
    folder.write([*records, f"R\t{folder.recent}"])
    return first
