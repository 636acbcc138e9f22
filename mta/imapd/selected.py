"""The mailbox that one session has open: its own numbering of the shared view, and what it was told so far."""
# SPDX-License-Identifier: Apache-2.0

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from mta.imapd.columns import Columns
from mta.imapd.rights import mask
from mta.imapd.view import View
from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.rights import ALL
from mta.wire.imap.flags import NAMES, SYSTEM
from mta.wire.imap.sequence import SequenceSet, encode_numbers

if TYPE_CHECKING:
    from mta.imapd.contexts import Contexts

NEVER = 2**32
"""No uid: nothing is recent."""


class Selected:
    """Message n of this session is row n-1 of ``columns``, for n <= ``count``, until ``catch_up`` says EXPUNGE."""

    __slots__ = (
        "_told", "_told_entry", "_told_words", "columns", "condstore", "contexts", "count", "examined", "heard", "mailbox", "name", "own", "push", "qresync",
        "read_only", "reader", "recent_from", "revoked", "rights", "told_rights", "rev2", "saved", "uid_validity", "uidonly", "view",
    )  # fmt: skip

    def __init__(
        self, view: View, name: str, *, read_only: bool, rev2: bool, examined: bool = False, rights: str = ALL, reader: str = ""
    ) -> None:
        self.view = view
        self.name = name
        self.mailbox: MailboxId = view.mailbox
        self.uid_validity = view.uid_validity
        self.read_only = read_only
        self.examined = examined
        self.rights = self.told_rights = rights
        self.reader = reader
        """Whose rights are looked at before each command; "": the mailbox is the session's own."""
        self.revoked = False
        self.rev2 = rev2
        self.condstore = False
        self.qresync = False
        self.uidonly = False
        """Messages are named by uids only (RFC 9586)."""
        self.recent_from = NEVER
        self.columns: Columns | None = None
        self.count = view.messages
        self.push: Callable[[], None] | None = None
        """In IDLE: tells the client what changed."""
        self.heard: dict[Uid, ModSeq] = {}
        """Messages whose flags the client knows from an answer of ours, as of this mod-sequence."""
        self.own: set[int] = set()
        """Entries of the view's log that are nothing but changes of this session which its client knows."""
        self.saved: list[Uid] = []
        self.contexts: Contexts | None = None
        """Searches that are kept up to date."""
        self._told = view.highest
        self._told_entry = view.log_end
        self._told_words = 0
        if view.columns is not None:
            self.adopt(view.columns)
            self._told_words = len(view.columns.table.spelling)
        view.sessions.add(self)

    def adopt(self, columns: Columns) -> None:
        if self.columns is not None:
            self.columns.holders -= 1
        columns.holders += 1
        self.columns = columns

    def close(self) -> None:
        self.view.sessions.discard(self)
        if self.columns is not None:
            self.columns.holders -= 1
            self.columns = None
        self.view.released()

    async def rows(self) -> Columns:
        """The columns that number this session's messages."""
        if self.columns is None:
            await self.view.load()
        assert self.columns is not None
        return self.columns

    # ---- numbers

    def positions(self, sequence: SequenceSet, *, uid: bool) -> "Positions":
        """Positions of the messages that ``sequence`` names; numbers and uids that are not there are left out."""
        columns = self.columns
        assert columns is not None
        count = self.count
        if sequence.saved:
            found = (bisect_left(columns.uids, u, 0, count) for u in self.saved)
            return [at for at, u in zip(found, self.saved, strict=True) if at < count and columns.uids[at] == u]
        if not uid:
            ranges = [range(low - 1, min(high, count)) for low, high in sequence.bounded(count) if low <= count]
        else:
            uids = columns.uids
            last = uids[count - 1] if count else 0
            # "*" alone names the last message even when the range's other end lies above it: RFC 9051 §9 seq-range.
            ranges = [
                range(bisect_left(uids, low, 0, count), bisect_right(uids, high, 0, count)) for low, high in sequence.bounded(last)
            ]
        if len(ranges) == 1:
            return ranges[0]
        return [at for part in ranges for at in part]

    def names_missing(self, sequence: SequenceSet) -> bool:
        """A message number that does not exist: BAD (RFC 9051 §9 seq-number). Ranges with "*" always name something."""
        return any(a and b and (a > self.count or b > self.count) for a, b in sequence.ranges)

    def uids(self, positions: Iterable[int]) -> list[Uid]:
        columns = self.columns
        assert columns is not None
        uids = columns.uids
        if isinstance(positions, range):
            return uids[positions.start : positions.stop].tolist()  # type: ignore[return-value]  # Uid is int
        return [Uid(uids[at]) for at in positions]

    # ---- telling

    @property
    def behind(self) -> bool:
        """There is something to tell."""
        view = self.view
        return (
            self.count != view.messages
            or self._told_entry != view.log_end
            or (self.columns is not None and self.columns.following is not None)
        )

    def catch_up(self, *, expunge: bool) -> list[bytes]:
        """Untagged responses for what changed since they were last told. ``expunge``: EXPUNGE may be said now."""
        out: list[bytes] = []
        columns = self.columns
        if columns is not None and columns.following is not None and expunge:
            self._tell_expunged(columns, out)
            columns = self.columns
        if columns is None or columns.following is None:
            messages = self.view.messages
            if messages > self.count:
                self._tell_new(messages, out)
        if self._told_entry != self.view.log_end:
            self._tell_flags(out)
        return out

    def _tell_expunged(self, columns: Columns, out: list[bytes]) -> None:
        vanished: list[Uid] = []
        while (following := columns.following) is not None:
            if self.qresync or self.uidonly:
                vanished += columns.removed_uids(self.count)
                self.count -= len(columns.removed_uids(self.count))
            else:
                octets, self.count = columns.expunges(self.count)
                if octets:
                    out.append(octets)
            columns = following
        if vanished:
            out.append(b"* VANISHED %b\r\n" % encode_numbers(sorted(vanished)))
        self.adopt(columns)
        self.view.released()

    def _tell_new(self, messages: int, out: list[bytes]) -> None:
        self.count = messages
        out.append(b"* %d EXISTS\r\n" % messages)
        if self.recent_from != NEVER and not self.read_only:
            self.view.told = self.view.uid_next
        if not self.rev2 and self.recent_from != NEVER:
            out.append(b"* %d RECENT\r\n" % self.recent())

    def recent(self) -> int:
        """Messages that are recent to this session. Known without columns: recent ones are the last."""
        if self.recent_from == NEVER:
            return 0
        if self.columns is None:
            return min(self.count, self.view.uid_next - self.recent_from)
        return self.count - bisect_left(self.columns.uids, self.recent_from, 0, self.count)

    def untold(self) -> set[Uid]:
        """Messages whose flags changed without this client knowing."""
        columns = self.columns
        if columns is None or self._told_entry == self.view.log_end:
            return set()
        heard = self.heard
        if self._told_entry < self.view.log_start:  # more changed than the log holds
            pairs = zip(columns.uids, columns.modseqs, strict=True)
            return {Uid(u) for u, m in pairs if m > self._told and heard.get(Uid(u)) != m}
        found = self.view.changed_after(self._told_entry, self._told, self.own)
        return {u for u in found if (p := columns.position(u)) >= 0 and columns.modseqs[p] != heard.get(u)}

    def _tell_flags(self, out: list[bytes]) -> None:
        view = self.view
        uids = self.untold()
        self._told_entry, self._told = view.log_end, view.highest
        self.heard.clear()
        self.own.clear()
        if uids and self.columns is not None:
            columns, count = self.columns, self.count
            at = [p for p in map(columns.position, sorted(uids)) if p < count]
            out += self.new_keywords()
            out += [self.flag_line(columns, p) for p in at]

    def flag_line(self, columns: Columns, at: int) -> bytes:
        """An unsolicited FETCH."""
        uid = columns.uids[at]
        texts = columns.table.recent if uid >= self.recent_from and not self.rev2 else columns.table.text
        text = texts[columns.sets[at]]
        if self.uidonly:
            modseq = f" MODSEQ ({columns.modseqs[at]})" if self.condstore else ""
            return f"* {uid} UIDFETCH (FLAGS ({text}){modseq})\r\n".encode("ascii")
        named = f"UID {uid} " if self.rev2 or self.qresync else ""
        modseq = f" MODSEQ ({columns.modseqs[at]})" if self.condstore else ""
        return f"* {at + 1} FETCH ({named}FLAGS ({text}){modseq})\r\n".encode("ascii")

    def new_keywords(self) -> list[bytes]:
        """FLAGS again, before a FETCH shows a keyword that the session has not heard of (RFC 9051 §7.3.5)."""
        columns = self.columns
        if columns is None or len(columns.table.spelling) == self._told_words:
            return []
        self._told_words = len(columns.table.spelling)
        return self.flags_lines()

    def flags_lines(self, columns: Columns | None = None) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS, with the keywords of these columns, or of the session's."""
        columns = columns or self.columns
        words = sorted(columns.table.spelling.values()) if columns is not None else []
        names = b" ".join([SYSTEM, *(word.encode("ascii") for word in words)])
        permanent = b"" if self.read_only else names + b" \\*"
        if self.reader and permanent:
            may = mask(self.rights)
            kept = [name for bit, name in NAMES if bit & may]
            permanent = b" ".join([*kept, *(word.encode("ascii") for word in words), b"\\*"] if "w" in self.rights else kept)
        return [b"* FLAGS (%b)\r\n" % names, b"* OK [PERMANENTFLAGS (%b)] flags that stay\r\n" % permanent]


Positions = Sequence[int]
