"""STORE and UID STORE (RFC 9051 §6.4.6; UNCHANGEDSINCE: RFC 7162 §3.1.3).

Pipelined commands that make the same change are one change to the store, and so one commit; each gets its own answer.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import bad, no, ok
from mta.imapd.columns import Columns
from mta.imapd.fetch_columns import CHUNK, lines
from mta.imapd.permitted import set_permitted
from mta.imapd.regroup import Answered, regroup
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.imapd.veto import ask, flag_names
from mta.model.ids import ModSeq, Uid
from mta.model.mailbox import Stored
from mta.wire.imap.command import Command
from mta.wire.imap.sequence import encode_numbers
from mta.wire.imap.store import Store

_DONE = ok(b"STORE done")
_MOST_TOGETHER = 10_000
SLICE = 4096
"""Messages changed in one transaction: other sessions have the loop back after some 10 ms, other writers their turn after some 40."""
_MOST_WORDS = 256
"""Keywords in one mailbox; a client that invents more is told LIMIT."""


async def store(session: Session, command: Store) -> bytes:
    selected = session.writable()
    columns = selected.columns or await selected.rows()
    if not command.uid and selected.names_missing(command.sequence):
        raise bad(b"no such message number")
    if command.unchanged_since is not None:
        session.use_condstore()
        return await _store_unchanged(session, selected, columns, command, command.unchanged_since)
    commands = [(session.tag, command, selected.positions(command.sequence, uid=command.uid))]
    total = len(commands[0][2])
    plan = session.server.hooks.mailbox_store
    while plan is None and session.ahead and total < _MOST_TOGETHER and _alike(command, session.ahead[0].value):
        following = session.ahead[0].value
        if not following.uid and selected.names_missing(following.sequence):
            break
        commands.append((session.ahead.popleft().tag, following, selected.positions(following.sequence, uid=following.uid)))
        total += len(commands[-1][2])
    together = commands[0][2] if len(commands) == 1 else _union([positions for _, _, positions in commands])
    try:
        if together:
            await _change(session, selected, columns, command, together)
    except BaseException:
        # The others are tried again, and fail one by one, each with its own answer.
        session.put_back([Command(tag, "UID STORE" if each.uid else "STORE", each) for tag, each, _ in commands[1:]])
        raise
    for octets in selected.new_keywords():
        session.out.write(octets)
    last = len(commands) - 1
    for index, (tag, done, positions) in enumerate(commands):
        session.tag = tag
        if not done.silent:
            await _show(session, selected, columns, positions, uid=done.uid)
        if index < last:
            session.reply(_DONE)
    return _DONE


def _union(parts: Sequence[Positions]) -> Positions:
    """Ascending; a range when there is no gap."""
    together = sorted({at for positions in parts for at in positions})
    if together and together[-1] - together[0] + 1 == len(together):
        return range(together[0], together[-1] + 1)
    return together


def _alike(first: Store, other: object) -> bool:
    """The same change, so that it can be done at once."""
    return (
        isinstance(other, Store)
        and (other.change, other.flags, other.silent) == (first.change, first.flags, first.silent)
        and other.unchanged_since is None
    )


async def _change(
    session: Session, selected: Selected, columns: Columns, command: Store, positions: Positions, since: ModSeq | None = None
) -> list[Uid]:
    """Make the change, a slice at a time; what the client can know from the answer, or from .SILENT, it is not told again.

    Returns the uids that failed UNCHANGEDSINCE. Each message is changed or not (RFC 9051 §6.4.6 asks for no more); a failure amid the
    slices leaves what was done to be told as if somebody else had done it.
    """
    keywords = _spelt(columns, command)
    if (plan := session.server.hooks.mailbox_store) is not None and positions:
        names = flag_names(command.flags.flags, keywords)
        await ask(session, plan, selected.name, uids=tuple(selected.uids(positions)), change=command.change, flags=names)
    answered = Answered()
    if since is None:
        done = await regroup(
            session, selected, columns, positions, lambda n: _after(columns, n, command, keywords), answered, silent=command.silent
        )
        positions = positions[done:]
    view = selected.view
    modified: list[Uid] = []
    heard, entries = answered.heard, answered.entries
    untold = selected.untold() if command.silent else set()
    seen, highest = view.log_end, view.highest
    for start in range(0, len(positions), SLICE):
        if start:
            await session.out.drain()
            if command.silent:  # what others changed while the last slice was at work
                untold |= view.changed_after(seen, highest, entries)
                seen, highest = view.log_end, view.highest
        part = positions[start : start + SLICE]
        uids = selected.uids(part)
        before = [columns.sets[at] for at in part] if command.silent else []
        result = await _set(session, selected, columns, uids, command, keywords, since)
        entry = view.took(result)
        modified += result.modified
        known = result.rows
        if command.silent:
            expected = {n: _after(columns, n, command, keywords) for n in set(before)}
            wanted = dict(zip(uids, (expected[n] for n in before), strict=True))
            known = [row for row in known if wanted[row.uid] == (row.flags, row.keywords) and row.uid not in untold]
        heard.update((row.uid, row.modseq) for row in known)
        if entry >= 0 and len(known) == len(result.rows):
            entries.add(entry)
    selected.heard.update(heard)
    selected.own |= entries
    return modified


async def _set(
    session: Session,
    selected: Selected,
    columns: Columns,
    uids: Sequence[Uid],
    command: Store,
    keywords: frozenset[str],
    since: ModSeq | None,
) -> Stored:
    store, flags = session.server.store, command.flags.flags
    if selected.reader:
        return await set_permitted(store, selected, columns, uids, command.change, flags, keywords, since)
    return await store.set_flags(selected.mailbox, uids, command.change, flags, keywords, since)


def _after(columns: Columns, number: int, command: Store, keywords: frozenset[str]) -> tuple[int, str]:
    """Flags and keywords that a client expects who saw flag set ``number`` before."""
    flags, words, named = columns.table.flags[number], frozenset(columns.table.keywords[number].split()), int(command.flags.flags)
    if command.change == "set":
        flags, words = named, keywords
    elif command.change == "add":
        flags, words = flags | named, words | keywords
    else:
        flags, words = flags & ~named, words - keywords
    return flags, " ".join(sorted(words))


def _spelt(columns: Columns, command: Store) -> frozenset[str]:
    """Keywords in the spelling that the mailbox knows."""
    known = columns.table.spelling
    words = frozenset(known.get(word.lower(), word) for word in command.flags.keywords)
    new = [word for word in words if word.lower() not in known]
    if new and command.change != "remove" and len(known) + len(new) > _MOST_WORDS:
        raise no(b"too many keywords in this mailbox", b"LIMIT")
    return words


async def _store_unchanged(session: Session, selected: Selected, columns: Columns, command: Store, since: int) -> bytes:
    """Each message only if nobody changed it meanwhile."""
    positions = selected.positions(command.sequence, uid=command.uid)
    modified = await _change(session, selected, columns, command, positions, ModSeq(since))
    for octets in selected.new_keywords():
        session.out.write(octets)
    failed = set(modified)
    done = [at for at in positions if columns.uids[at] not in failed]
    # The new mod-sequence is told even with .SILENT (RFC 7162 §3.1.3).
    await _show(session, selected, columns, done, uid=command.uid, flags=not command.silent)
    if not modified:
        return _DONE
    numbers = sorted(modified) if command.uid else [at + 1 for at in positions if columns.uids[at] in failed]
    return ok(b"some were changed meanwhile", b"MODIFIED " + encode_numbers(numbers))


async def _show(
    session: Session, selected: Selected, columns: Columns, positions: Positions, *, uid: bool, flags: bool = True
) -> None:
    names = ["UID"] if (uid or selected.rev2 or selected.qresync) and not selected.uidonly else []  # RFC 7162 §3.2.4
    if flags:
        names.append("FLAGS")
    if selected.condstore:
        names.append("MODSEQ")
    for start in range(0, len(positions), CHUNK):
        session.out.write(lines(selected, columns, positions[start : start + CHUNK], names))
        if len(positions) > 1:
            await session.out.drain()
