"""FETCH of what the columns hold: no octet of a message, no query, about 0.2 µs for each message and item.

A response is cut into text pieces; each piece is a column of strings, the columns are interleaved by slice assignment and
joined once. Measured on 100,000 messages: FLAGS 22 ms, UID FLAGS RFC822.SIZE INTERNALDATE 90 ms.
"""
# SPDX-License-Identifier: Apache-2.0

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache

from mta.imapd.columns import Columns
from mta.imapd.selected import Positions, Selected
from mta.imapd.session import Out
from mta.wire.imap.dates import encode_day

CHUNK = 2048
"""Messages formatted at once: below a millisecond, below 256 KiB."""
_MINUTES = [f"{n // 60:02d}:{n % 60:02d}:" for n in range(1440)]
_SECONDS = [f"{n:02d} +0000" for n in range(60)]


async def send_columns(out: Out, selected: Selected, columns: Columns, positions: Positions, names: Sequence[str]) -> None:
    for start in range(0, len(positions), CHUNK):
        out.write(lines(selected, columns, positions[start : start + CHUNK], names))
        await out.drain()


def lines(
    selected: Selected, columns: Columns, positions: Positions, names: Sequence[str], numbers: Sequence[int] | None = None
) -> bytes:
    """``* n FETCH (…)`` for each position. ``numbers``: theirs, when the columns are not the mailbox's."""
    count = len(positions)
    pieces: list[Iterable[str]] = [_numbers(positions) if numbers is None else map(str, numbers)]
    before = " FETCH ("
    if selected.uidonly:
        pieces, before = [map(str, _taken(columns.uids, positions))], " UIDFETCH ("
    for name in names:
        column, opening, closing = _column(selected, columns, positions, name)
        pieces += ([before + opening] * count, column)
        before = closing + " "
    pieces.append([before[:-1] + ")\r\n* "] * count)
    width = len(pieces)
    parts: list[str] = [""] * (width * count)
    for at, piece in enumerate(pieces):
        parts[at::width] = piece
    parts[-1] = parts[-1][:-2]
    return ("* " + "".join(parts)).encode("ascii")


def _numbers(positions: Positions) -> Iterable[str]:
    if isinstance(positions, range):
        return map(str, range(positions.start + 1, positions.stop + 1))
    return [str(at + 1) for at in positions]


def _column(selected: Selected, columns: Columns, positions: Positions, name: str) -> tuple[Iterable[str], str, str]:
    """One item's texts, and what stands before and behind each."""
    if name == "UID":
        return map(str, _taken(columns.uids, positions)), "UID ", ""
    if name == "FLAGS":
        return flag_texts(selected, columns, positions), "FLAGS (", ")"
    if name == "RFC822.SIZE":
        return map(str, _taken(columns.sizes, positions)), "RFC822.SIZE ", ""
    if name == "MODSEQ":
        return map(str, _taken(columns.modseqs, positions)), "MODSEQ (", ")"
    return date_texts(_taken(columns.dates, positions)), 'INTERNALDATE "', '"'


def _taken(column: Sequence[int], positions: Positions) -> Iterable[int]:
    if isinstance(positions, range):
        return column[positions.start : positions.stop]
    return [column[at] for at in positions]


def flag_texts(selected: Selected, columns: Columns, positions: Positions) -> Iterable[str]:
    text = columns.table.text
    numbers = _taken(columns.sets, positions)
    if selected.recent_from > selected.view.uid_next or selected.rev2:
        return [text[number] for number in numbers]
    first = bisect_left(columns.uids, selected.recent_from)
    recent = columns.table.recent
    return [(recent if at >= first else text)[number] for at, number in zip(positions, numbers, strict=True)]


def date_texts(dates: Iterable[int]) -> list[str]:
    """INTERNALDATE, in UTC."""
    return [_day(at // 86400) + _MINUTES[at % 86400 // 60] + _SECONDS[at % 60] for at in dates]


@lru_cache(maxsize=5000)
def _day(day: int) -> str:
    return encode_day(day).decode("ascii")
