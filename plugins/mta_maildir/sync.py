"""Take over what others did in a folder: Dovecot, another delivery agent, a mail reader on the Maildir."""
# SPDX-License-Identifier: Apache-2.0

import logging
import os
import time
from collections.abc import Mapping

from mta.model.errors import NoSuchMailbox
from mta_maildir import keywords as keyword_file
from mta_maildir import uidlist as uidlist_file
from mta_maildir.filename import USABLE, flags_of, keywords_of, order, sizes, split
from mta_maildir.folder import Folder, Grave, Message, Stamp, calm, grave_record
from mta_maildir.lock import dotlock
from mta_maildir.uidlist import Uidlist

_log = logging.getLogger("mta.maildir")
_PIECE = 2**20
DEAD_LINES = 1000
"""Lines of messages that are gone, beyond as many as there are messages, after which the uidlist is written anew."""

Found = dict[str, tuple[str, bool]]
"""Files by name for life: (name, in ``new``)."""


def sync(folder: Folder) -> None:
    """Raises NoSuchMailbox when the folder is gone, or is another mailbox now; OSError."""
    folder.read_journal()
    stamp = folder.look()
    if stamp == folder.stamp and (folder.settled or not calm(stamp)):
        return
    scan(folder, stamp)


def scan(folder: Folder, stamp: Stamp) -> None:
    """``stamp``: of before the look."""
    if stamp[5:] != folder.stamp[5:]:
        _reread_keywords(folder)
    if stamp[2:5] != folder.listed:
        reread_uidlist(folder)
    listing = _list(folder)
    gone = _without(folder.bases, listing)
    if gone:  # a file that is being renamed may be missed once
        listing = {**listing, **_list(folder)}
        gone = _without(folder.bases, listing)
    news = sorted(_without(listing, folder.bases), key=order)
    conflicts = [base for base, uid in folder.bases.items() if folder.uidlist.uids.get(base, uid) != uid]
    modseq = max(folder.highest + 1, 1 if folder.journal.exists else int(time.time()))
    records: list[str] = []
    _follow(folder, listing, modseq, records)
    _bury(folder, [*gone, *conflicts], modseq, records)
    first = not folder.journal.exists
    if first:  # a Maildir of somebody else: what a client knows of modseqs is of another count
        folder.highest = folder.forgotten = modseq
    fresh = [base for base in [*news, *conflicts] if base in listing]
    unlisted = _without(folder.bases, folder.uidlist.uids)
    if fresh or unlisted or first:
        _adopt(folder, fresh, listing, modseq, records)
        stamp = (*stamp[:2], *folder.look()[2:])
    if first:
        _first_recent(folder)
    if records or first or stamp != folder.stamp:
        folder.next_uid = max(folder.next_uid, folder.uidlist.next_uid)
        folder.write([*records, f"N\t{folder.next_uid}\t{folder.highest}"], stamp=stamp)
    else:
        folder.settled = calm(stamp)


def _without(these: Mapping[str, object], those: Mapping[str, object]) -> list[str]:
    """A loop, not a set operation: that would keep the event loop from the interpreter for as long as it takes."""
    return [one for one in these if one not in those]


def _reread_keywords(folder: Folder) -> None:
    """Letters may mean something else now."""
    table = keyword_file.read(folder.path)
    if table == folder.table:
        return
    old, folder.table = folder.table, table
    for message in folder.messages.values():
        letters = split(message.name)[1]
        extra = set(message.keywords.split()) - set(keywords_of(letters, old))
        message.keywords = " ".join(sorted({*keywords_of(letters, table), *extra}))


def reread_uidlist(folder: Folder) -> None:
    """Raises NoSuchMailbox when it is another mailbox now."""
    folder.listed = folder.look()[2:5]
    found = uidlist_file.read(folder.path)
    if found is None:  # lost, or damaged: we know the uids as well
        found = Uidlist(folder.validity, folder.next_uid, folder.guid)
    elif (found.guid or folder.guid, found.validity) != (folder.guid, folder.validity):
        raise NoSuchMailbox(folder.path)  # Dovecot gave new uids: another mailbox
    found.guid = folder.guid
    folder.uidlist = found


def _list(folder: Folder) -> Found:
    """Raises OSError: what cannot be listed is not empty."""
    found: Found = {}
    for part in ("new", "cur"):
        with os.scandir(f"{folder.path}/{part}") as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or not entry.is_file():
                    continue
                if not USABLE.match(name):
                    _log.warning("maildir.name_unusable", extra={"fields": {"folder": folder.path, "name": ascii(name)}})
                    continue
                found[split(name)[0]] = (name, part == "new")
    return found


def _follow(folder: Folder, listing: Found, modseq: int, records: list[str]) -> None:
    """Files that have other letters or moved from ``new`` to ``cur``."""
    for base, uid in list(folder.bases.items()):
        now = listing.get(base)
        message = folder.messages[uid]
        if now is None or now == (message.name, message.new):
            continue
        before, letters = split(message.name)[1], split(now[0])[1]
        message.name, message.new = now
        if letters != before:
            extra = set(message.keywords.split()) - set(keywords_of(before, folder.table))
            flags, words = flags_of(letters), " ".join(sorted({*keywords_of(letters, folder.table), *extra}))
            if (flags, words) != (message.flags, message.keywords):
                message.flags, message.keywords, message.modseq = flags, words, modseq
                folder.put(message, base)
        records.append(folder.record(message))


def _bury(folder: Folder, bases: list[str], modseq: int, records: list[str]) -> None:
    now = time.time()
    for base in bases:
        grave = Grave(folder.bases[base], modseq, now, base)
        folder.bury(grave)
        records.append(grave_record(grave))


def _adopt(folder: Folder, fresh: list[str], listing: Found, modseq: int, records: list[str]) -> None:
    """Give uids to files that have none, and lines to those that have."""
    with dotlock(f"{folder.path}/{uidlist_file.NAME}", folder.mode):
        if folder.look()[2:5] != folder.listed:
            reread_uidlist(folder)  # Dovecot may have been quicker
        _give(folder, fresh, listing)
    added = []
    for base in fresh:
        name, new = listing[base]
        measured = _measure(f"{folder.path}/{'new' if new else 'cur'}/{name}", base)
        if measured is None:
            continue
        date, size = measured
        letters = split(name)[1]
        words = " ".join(sorted(keywords_of(letters, folder.table)))
        added.append(Message(folder.uidlist.uids[base], modseq, date, size, name, new=new, flags=flags_of(letters), keywords=words))
    for message in sorted(added, key=lambda one: one.uid):
        folder.put(message, split(message.name)[0])
        records.append(folder.record(message))


def _give(folder: Folder, fresh: list[str], listing: Found) -> None:
    uidlist = folder.uidlist
    uidlist.next_uid = max(uidlist.next_uid, folder.next_uid)
    names: dict[int, str] = {}
    anew = not os.path.exists(f"{folder.path}/{uidlist_file.NAME}")
    for base in _without(folder.bases, uidlist.uids):  # the file was lost: what we know goes back
        uidlist.add(base, folder.bases[base])
        anew = True
    for base in fresh:
        known = uidlist.uids.get(base)
        if known is not None and known < folder.next_uid and folder.journal.exists:
            known, anew = None, True  # clients were told that this uid will not come any more
        if known is None:
            uidlist.add(base, uidlist.next_uid)
            names[uidlist.uids[base]] = listing[base][0]
    if anew or len(uidlist.uids) > 2 * len(listing) + DEAD_LINES or uidlist_file.head_of(folder.path) is None:
        _rewrite(folder, listing)
    elif names:
        lines = (uidlist.line(split(name)[0], uid, name) for uid, name in sorted(names.items()))
        uidlist_file.append(folder.path, lines, folder.mode)
    folder.listed = folder.look()[2:5]


def _rewrite(folder: Folder, listing: Found) -> None:
    """The uidlist with the lines of files that are there."""
    uidlist = folder.uidlist
    uidlist.uids = {base: uid for base, uid in uidlist.uids.items() if base in listing}
    names = sorted((uid, listing[base][0]) for base, uid in uidlist.uids.items())
    uidlist_file.rewrite(folder.path, uidlist, names, folder.mode)
    folder.listed = folder.look()[2:5]


def _measure(path: str, base: str) -> tuple[int, int] | None:
    """(date, size with CRLF). None: the file vanished. One that cannot be read counts as it lies there."""
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    physical, virtual = sizes(base)
    if virtual is None or (physical is not None and physical != state.st_size):  # it was changed since it got its name
        try:
            virtual = _virtual_size(path)
        except OSError as exc:
            _log.warning("maildir.unreadable", extra={"fields": {"file": path, "problem": exc.strerror}})
            virtual = state.st_size
    return int(state.st_mtime), virtual


def _virtual_size(path: str) -> int:
    total, last = 0, b""
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            total += len(piece) + piece.count(b"\n") - piece.count(b"\r\n")
            if last == b"\r" and piece[:1] == b"\n":
                total -= 1
            last = piece[-1:]
    return total


def _first_recent(folder: Folder) -> None:
    """What lies in ``new`` was never shown to anybody."""
    unseen = [message.uid for message in folder.messages.values() if message.new]
    folder.recent = min(unseen, default=folder.next_uid)
