"""STORE out of the columns: what messages have is in memory, so the store is told what to make of them and reads nothing.

10,000 messages are a few groups with the same flags. The store makes the change only if the mailbox is still as the columns know it
(``mta_hooks.backends.Flagging``); otherwise, and whatever is not simple, ``set_flags`` is asked as by any other client.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence

from mta.imapd.columns import Columns
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Session
from mta.model.ids import ModSeq, Uid
from mta.model.mailbox import Regrouped
from mta.model.message import Flags

SLICE = 16_384
"""Messages changed in one transaction: other sessions have the loop back after some 5 ms, other writers their turn after some 30."""
Kind = tuple[int, str]
After = Callable[[int], Kind]


class Answered:
    """What the client of a STORE knows once that is answered OK (``Selected.heard``, ``own``): a NO says nothing of what was done."""

    __slots__ = ("entries", "heard")

    def __init__(self) -> None:
        self.heard: dict[Uid, ModSeq] = {}
        self.entries: set[int] = set()


async def regroup(
    session: Session, selected: Selected, columns: Columns, positions: Positions, after: After, answered: Answered, *, silent: bool
) -> int:
    """Change the flags of these messages to ``after`` of their flag set. Returns of how many; the rest is left to ``set_flags``."""
    flagging, view = session.server.flagging, selected.view
    if flagging is None or selected.reader or view.columns is not columns or view.stale:
        return 0
    untold = selected.untold()
    if untold and silent:  # the client knows less than the columns: it has to hear of some
        return 0
    done = 0
    while done < len(positions) and view.columns is columns:
        if done:
            await session.out.drain()
        part = positions[done : done + SLICE]
        numbers = columns.numbers(part)
        if not (moved := _moved(columns, numbers, after)):
            break  # as far as is known here; the store says whether that is so
        groups = _groups(columns, part, numbers, moved)
        span = (Uid(columns.uids[part[0]]), Uid(columns.uids[part[-1]])) if isinstance(part, range) else None
        known, at = view.highest, view.log_end
        modseq = await flagging.regroup(selected.mailbox, known, groups, span)
        if modseq is None:
            view.dirty = True
            break
        entry = view.regrouped(columns, part, groups, modseq, at)
        if entry >= 0:
            answered.entries.add(entry)
        else:
            answered.heard.update((uid, modseq) for group in groups for uid in group.uids)
        done += len(part)
    if untold:
        shown = ((Uid(columns.uids[at]), ModSeq(columns.modseqs[at])) for at in positions[:done])
        answered.heard.update(pair for pair in shown if pair[0] in untold)
    return done


def _moved(columns: Columns, numbers: Sequence[int], after: After) -> dict[int, Kind]:
    """Flag sets that become others."""
    table = columns.table
    kinds = {number: after(number) for number in set(numbers)}
    return {number: kind for number, kind in kinds.items() if kind != (table.flags[number], table.keywords[number])}


def _groups(columns: Columns, part: Positions, numbers: Sequence[int], moved: dict[int, Kind]) -> list[Regrouped]:
    table = columns.table
    members: dict[int, list[Uid]] = {number: [] for number in moved}
    add = {number: uids.append for number, uids in members.items()}
    uids: Sequence[Uid] = columns.taken(columns.uids, part)  # type: ignore[assignment]  # Uid is int
    if len(moved) == len(set(numbers)):
        for number, uid in zip(numbers, uids, strict=True):
            add[number](uid)
    else:
        for number, uid in zip(numbers, uids, strict=True):
            if number in add:
                add[number](uid)
    octets = dict.fromkeys(moved, 0)
    marked = {number for number, kind in moved.items() if (table.flags[number] ^ kind[0]) & Flags.DELETED}
    if marked:
        for number, size in zip(numbers, columns.taken(columns.sizes, part), strict=True):
            if number in marked:
                octets[number] += size
    return [
        Regrouped((table.flags[number], table.keywords[number]), kind, members[number], octets[number])
        for number, kind in moved.items()
    ]
