"""The rows of one mailbox as columns, in uid order: about 40 octets for a message.

Sessions number messages by position. So rows are only ever appended, or patched in place; removal makes new columns and
links them from the old, with the positions that went, and each session crosses that link when it may say EXPUNGE
(RFC 9051 §7.5.1). A session that has not crossed keeps its old numbers; all others share one copy.
"""
# SPDX-License-Identifier: Apache-2.0

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import compress

from mta.model.ids import BlobId, ModSeq, Uid
from mta.model.mailbox import Regrouped, Row, RowColumns
from mta.wire.imap.flags import encode_flags


class FlagTable(dict[tuple[int, str], int]):
    """The distinct combinations of flags and keywords in a mailbox, numbered as they are asked for.

    ``text`` is how FETCH writes each, ``recent`` how it writes each of a recent message (RFC 3501 §2.3.2).
    """

    __slots__ = ("flags", "keywords", "recent", "spelling", "text")

    def __init__(self) -> None:
        super().__init__()
        self.flags: list[int] = []
        self.keywords: list[str] = []
        self.text: list[str] = []
        self.recent: list[str] = []
        self.spelling: dict[str, str] = {}
        """Every keyword seen, by its lower-case form: keywords compare without regard to case (RFC 9051 §2.3.2)."""

    def __missing__(self, kind: tuple[int, str]) -> int:
        number = self[kind] = len(self.text)
        flags, keywords = kind
        self.flags.append(flags)
        self.keywords.append(keywords)
        self.text.append(encode_flags(flags, keywords).decode("ascii"))
        self.recent.append(f"\\Recent {self.text[-1]}".rstrip())
        for word in keywords.split():
            self.spelling.setdefault(word.lower(), word)
        return number


class Columns:
    """``sets`` are numbers in ``table``; ``holders`` counts the sessions that number by these columns."""

    __slots__ = ("_said", "blobs", "dates", "following", "holders", "modseqs", "removed", "sets", "sizes", "table", "uids")

    def __init__(self, table: FlagTable) -> None:
        self.table = table
        self.uids = array("I")
        self.sets = array("I")
        self.modseqs = array("Q")
        self.dates = array("q")
        self.sizes = array("Q")
        self.blobs = array("q")
        self.holders = 0
        self.following: Columns | None = None
        self.removed: Sequence[int] = ()
        self._said: tuple[int, bytes, int] = (-1, b"", 0)

    def __len__(self) -> int:
        return len(self.uids)

    def extend(self, rows: Sequence[Row]) -> None:
        """Append rows whose uids ascend and lie above all here."""
        if not rows:
            return
        columns = rows.columns if isinstance(rows, RowColumns) else zip(*rows, strict=True)
        uids, modseqs, flags, keywords, dates, sizes, blobs = columns
        self.uids.extend(uids)
        self.sets.extend(map(self.table.__getitem__, zip(flags, keywords, strict=True)))
        self.modseqs.extend(modseqs)
        self.dates.extend(dates)
        self.sizes.extend(sizes)
        self.blobs.extend(blobs)

    def position(self, uid: int) -> int:
        """Where ``uid`` is, or -1."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def positions(self, uids: Sequence[int]) -> Sequence[int]:
        """Where those of these are that are there, ascending; a range when they lie side by side."""
        first = self.position(uids[0]) if uids else -1
        if first >= 0 and self.uids[first : first + len(uids)].tolist() == uids:
            return range(first, first + len(uids))
        return sorted(at for at in map(self.position, uids) if at >= 0)

    def numbers(self, positions: Sequence[int]) -> Sequence[int]:
        """The flag sets of these."""
        return self.taken(self.sets, positions)

    @staticmethod
    def taken(column: Sequence[int], positions: Sequence[int]) -> Sequence[int]:
        """What a column has at these positions; of a range without looking at each."""
        if isinstance(positions, range):
            return column[positions.start : positions.stop]
        return [column[at] for at in positions]

    def regroup(self, positions: Sequence[int], groups: Sequence[Regrouped], modseq: ModSeq) -> None:
        """Take over other flags of messages at these positions, those of them that are in one of the groups."""
        table = self.table
        moved = {table[group.before]: table[group.after] for group in groups}
        old = self.taken(self.sets, positions)
        if isinstance(positions, range) and sum(len(group.uids) for group in groups) == len(positions):
            self.sets[positions.start : positions.stop] = array("I", map(moved.__getitem__, old))
            self.modseqs[positions.start : positions.stop] = array("Q", (modseq,)) * len(positions)
            return
        sets, modseqs = self.sets, self.modseqs
        for at, number in zip(positions, old, strict=True):
            if (new := moved.get(number)) is not None:
                sets[at] = new
                modseqs[at] = modseq

    def patch(self, row: Row) -> bool:
        """Take over flags of a message that is here, unless what we have is newer. True when something changed."""
        at = self.position(row.uid)
        if at < 0 or row.modseq <= self.modseqs[at]:
            return False
        self.sets[at] = self.table[row.flags, row.keywords]
        self.modseqs[at] = row.modseq
        return True

    def without(self, positions: Sequence[int]) -> "Columns":
        """New columns lacking these ascending positions, linked from here."""
        kept = bytearray(b"\1") * len(self.uids)
        if not isinstance(positions, range):
            for at in positions:
                kept[at] = 0
        new = Columns(self.table)
        for name in ("uids", "sets", "modseqs", "dates", "sizes", "blobs"):
            old = getattr(self, name)
            if isinstance(positions, range):
                column = old[: positions.start] + old[positions.stop :]
            elif len(positions) <= 16:
                column = old[:]
                for at in reversed(positions):
                    del column[at]
            else:
                column = array(old.typecode, compress(old, kept))
            setattr(new, name, column)
        self.following, self.removed = new, positions
        return new

    def renumbered(self) -> "Columns":
        """The same rows with a fresh flag table, linked from here: for when most of the old table is out of use."""
        new = self.without(())
        new.table = FlagTable()
        old = self.table
        moved = {n: new.table[old.flags[n], old.keywords[n]] for n in set(self.sets)}
        new.sets = array("I", map(moved.__getitem__, self.sets))
        return new

    def expunges(self, count: int) -> tuple[bytes, int]:
        """EXPUNGE lines for a session that counts ``count`` messages here, and its count afterwards."""
        if self._said[0] != count:  # all idle sessions of a mailbox say the same
            gone = [at for at in self.removed if at < count]
            # Highest first, so that the numbers need no adjusting.
            self._said = (count, b"".join([b"* %d EXPUNGE\r\n" % (at + 1) for at in reversed(gone)]), count - len(gone))
        return self._said[1], self._said[2]

    def removed_uids(self, count: int) -> list[Uid]:
        return [Uid(self.uids[at]) for at in self.removed if at < count]

    def row(self, at: int) -> Row:
        number = self.sets[at]
        return Row(
            Uid(self.uids[at]),
            ModSeq(self.modseqs[at]),
            self.table.flags[number],
            self.table.keywords[number],
            self.dates[at],
            self.sizes[at],
            BlobId(self.blobs[at]),
        )
