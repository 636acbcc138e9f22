"""Search keys that the columns answer: flags, keywords, numbers, dates, sizes. A loop over an array for each key."""
# SPDX-License-Identifier: Apache-2.0

from typing import cast

from mta.imapd.columns import Columns
from mta.imapd.selected import Positions, Selected
from mta.model.message import Flags
from mta.wire.imap.search_keys import (
    All,
    And,
    Fuzzy,
    HasFlag,
    HasKeyword,
    Header,
    InSet,
    Internal,
    Key,
    ModSeq,
    Not,
    Or,
    Recent,
    Sent,
    Size,
    Text,
    Within,
)

_DAY = 86400


def reads_messages(key: Key) -> bool:
    """True when octets of messages are needed."""
    if isinstance(key, And):
        return any(map(reads_messages, key.keys))
    if isinstance(key, Or):
        return reads_messages(key.left) or reads_messages(key.right)
    if isinstance(key, Not):
        return reads_messages(key.key)
    return isinstance(key, Header | Text | Sent)


def mentions_size(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(mentions_size, key.keys))
    if isinstance(key, Or):
        return mentions_size(key.left) or mentions_size(key.right)
    return isinstance(key, Size) or (isinstance(key, Not) and mentions_size(key.key))


def mentions_numbers(key: Key) -> bool:
    """Message numbers, but for the saved result."""
    if isinstance(key, And):
        return any(map(mentions_numbers, key.keys))
    if isinstance(key, Or):
        return mentions_numbers(key.left) or mentions_numbers(key.right)
    if isinstance(key, Not | Fuzzy):
        return mentions_numbers(key.key)
    return isinstance(key, InSet) and not key.uid and not key.sequence.saved


def count_keys(key: Key) -> int:
    if isinstance(key, And):
        return sum(map(count_keys, key.keys))
    if isinstance(key, Or):
        return count_keys(key.left) + count_keys(key.right)
    return 1 + count_keys(key.key) if isinstance(key, Not) else 1


class ColumnSearch:
    """Answers for one command on one numbering. ``now``: wall clock, for OLDER and YOUNGER."""

    def __init__(self, selected: Selected, columns: Columns, now: float) -> None:
        self.selected = selected
        self._columns = columns
        self._now = int(now)
        self._named: dict[InSet, range | frozenset[int]] = {}

    def matching(self, key: Key, among: Positions) -> Positions:
        """Those of ``among`` (ascending) that ``key``, which needs no octets, is true for; ascending."""
        if isinstance(key, All):
            return among
        if isinstance(key, And):
            for each in key.keys:
                among = self.matching(each, among)
            return among
        if isinstance(key, Not):
            gone = set(self.matching(key.key, among))
            return [at for at in among if at not in gone]
        if isinstance(key, Or):
            either = set(self.matching(key.left, among))
            either.update(self.matching(key.right, among))
            return [at for at in among if at in either]
        if isinstance(key, InSet):
            return self._in_set(key, among)
        if isinstance(key, HasFlag | HasKeyword):
            return self._with_sets(key, among)
        return self._with_values(key, among)

    def _in_set(self, key: InSet, among: Positions) -> Positions:
        named = self._named.get(key)
        if named is None:
            found = self.selected.positions(key.sequence, uid=key.uid)
            named = self._named[key] = found if isinstance(found, range) else frozenset(found)
        if isinstance(among, range) and isinstance(named, range):
            return range(max(among.start, named.start), max(among.start, named.start, min(among.stop, named.stop)))
        return [at for at in among if at in named]

    def _with_sets(self, key: HasFlag | HasKeyword, among: Positions) -> list[int]:
        """Decide once for each distinct set of flags, then look up."""
        table, sets = self._columns.table, self._columns.sets
        if isinstance(key, HasFlag):
            fits = [bool(flags & key.flag) is key.wanted for flags in table.flags]
        else:
            word = key.keyword.lower()
            fits = [(word in keywords.lower().split()) is key.wanted for keywords in table.keywords]
        if isinstance(among, range):
            return [at for at, number in enumerate(sets[among.start : among.stop], among.start) if fits[number]]
        return [at for at in among if fits[sets[at]]]

    def _with_values(self, key: Key, among: Positions) -> list[int]:
        columns = self._columns
        if isinstance(key, Recent):
            return self._recent(key, among)
        if isinstance(key, Size):
            sizes, bound = columns.sizes, key.octets
            return [at for at in among if sizes[at] > bound] if key.larger else [at for at in among if sizes[at] < bound]
        if isinstance(key, ModSeq):
            modseqs, least = columns.modseqs, key.least
            return [at for at in among if modseqs[at] >= least]
        dates = columns.dates
        if isinstance(key, Within):
            edge = self._now - key.seconds
            return [at for at in among if dates[at] >= edge] if key.younger else [at for at in among if dates[at] < edge]
        internal = cast(Internal, key)
        start = internal.day * _DAY
        if internal.relation == "before":
            return [at for at in among if dates[at] < start]
        if internal.relation == "since":
            return [at for at in among if dates[at] >= start]
        return [at for at in among if start <= dates[at] < start + _DAY]

    def _recent(self, key: Recent, among: Positions) -> list[int]:
        columns, first = self._columns, self.selected.recent_from
        uids = columns.uids
        found = [at for at in among if (uids[at] >= first) is key.wanted]
        if key.unseen:
            return self._with_sets(HasFlag(int(Flags.SEEN), wanted=False), found)
        return found
