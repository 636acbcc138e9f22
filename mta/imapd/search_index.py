"""What the full-text index says about a query, before any message is read.

Each key becomes two sets of positions: those it is certainly true for, and those it may be true for. AND, OR and NOT combine both, so a
tree of any shape is narrowed soundly; only messages between the two are read, and they decide. Messages that are not indexed
yet may match anything.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from mta.imapd.columns import Columns
from mta.imapd.search_columns import ColumnSearch, reads_messages
from mta.imapd.search_text import texts_of
from mta.imapd.selected import Positions
from mta.model.errors import MailError
from mta.model.search import FIELDS, Found
from mta.net.prompt import own_task
from mta.obs.log import Log
from mta.wire.imap.search_keys import And, Header, Key, Not, Or
from mta.wire.mime.searchable import fold
from mta_hooks.backends.search import Search

FEW = 48
"""Messages that are read as quickly as the index is asked."""

Answers = Mapping[Key, Found]


class Bounds(NamedTuple):
    """``sure`` match, of ``possible`` any may; both within the positions asked about."""

    sure: set[int]
    possible: set[int]


async def ask(search: Search, log: Log, key: Key, columns: Columns, among: Positions) -> Answers:
    """Look up every text in ``key``. A text without answer is left out: its messages have to be read."""
    await own_task()  # the index may be a plugin's
    blobs = columns.blobs
    ids: Sequence[int] = blobs[among.start : among.stop] if isinstance(among, range) else [blobs[at] for at in among]
    answers: dict[Key, Found] = {}
    for leaf in texts_of(key):
        text = fold(leaf.text)
        if not text or leaf in answers:
            continue
        if isinstance(leaf, Header) and leaf.name in FIELDS:
            found = await _safely(log, lambda: search.with_field(leaf.name, text, ids))  # noqa: B023  # awaited at once
        else:
            found = await _safely(log, lambda: search.candidates(text, ids))  # noqa: B023
        if found is not None:
            answers[leaf] = found
    return answers


async def _safely(log: Log, call: Callable[[], Awaitable[Found | None]]) -> Found | None:
    """An index that fails costs time, not answers."""
    try:
        return await call()
    except MailError as exc:
        log.warning("search.failed", problem=str(exc))
    except Exception:  # noqa: BLE001  # somebody else's index
        log.error("search.failed", problem="internal error of the search backend", exc_info=True)  # noqa: G201
    return None


class Narrowing:
    """Bounds for one query over blocks of positions."""

    def __init__(self, answers: Answers, columns: Columns, by_columns: ColumnSearch) -> None:
        self._answers = answers
        self._blobs = columns.blobs
        self._by_columns = by_columns

    def bounds(self, key: Key, among: Positions) -> Bounds:
        if isinstance(key, And):
            return self._all(key, among)
        if isinstance(key, Or):
            left, right = self.bounds(key.left, among), self.bounds(key.right, among)
            return Bounds(left.sure | right.sure, left.possible | right.possible)
        if isinstance(key, Not):
            inner = self.bounds(key.key, among)
            return Bounds(set(among) - inner.possible, set(among) - inner.sure)
        if not reads_messages(key):
            matching = set(self._by_columns.matching(key, among))
            return Bounds(matching, matching)
        found = self._answers.get(key)
        if found is None:
            return Bounds(set(), set(among))
        return self._leaf(found, among)

    def _all(self, key: And, among: Positions) -> Bounds:
        """Each key among what those before left possible."""
        sure: set[int] | None = None
        possible = among
        for each in sorted(key.keys, key=reads_messages):
            bounds = self.bounds(each, possible)
            sure = bounds.sure if sure is None else sure & bounds.sure
            possible = sorted(bounds.possible)
        return Bounds(sure or set(), set(possible))

    def _leaf(self, found: Found, among: Positions) -> Bounds:
        blobs, position, sure, unsure = self._blobs, found.position, found.sure, found.unsure
        certain = {at for at in among if blobs[at] in sure} if sure else set()
        maybe = {at for at in among if blobs[at] in unsure or blobs[at] > position}
        # What is ahead of the position may be in the index already, and is sure if it says so.
        return Bounds(certain, certain | maybe)
