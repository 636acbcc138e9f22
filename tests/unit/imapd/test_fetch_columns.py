"""FETCH from columns: the same text as written one by one, fast."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import random
import time
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mta.imapd.columns import Columns, FlagTable
from mta.imapd.fetch_columns import date_texts, lines, send_columns
from mta.model.ids import BlobId, ModSeq, Uid
from mta.model.mailbox import Row
from mta.wire.imap.dates import encode_date_time

NAMES = ["UID", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "MODSEQ"]


def made(count: int) -> Columns:
    chance = random.Random(1)
    columns = Columns(FlagTable())
    columns.extend(
        [
            Row(
                Uid(n * 2),
                ModSeq(n),
                chance.choice([0, 1, 3, 5]),
                chance.choice(["", "$a"]),
                1_600_000_000 + n * 600,
                n * 7,
                BlobId(n),
            )
            for n in range(1, count + 1)
        ]
    )
    return columns


def selected(recent_from: int = 2**32, *, rev2: bool = False) -> Any:
    return SimpleNamespace(recent_from=recent_from, rev2=rev2, uidonly=False, view=SimpleNamespace(uid_next=10**6))


@given(st.permutations(NAMES), st.integers(1, 5), st.sampled_from(["range", "list"]), st.booleans())
def test_same_as_one_by_one(names: list[str], count: int, form: str, recent: bool) -> None:
    columns, names = made(50), names[:count]
    positions = range(10, 40) if form == "range" else [1, 5, 6, 49]
    expected = b""
    for at in positions:
        row = columns.row(at)
        number = columns.sets[at]
        flags = columns.table.text[number]
        if recent and row.uid >= 60:
            flags = f"\\Recent {flags}".strip()
        values = {
            "UID": f"UID {row.uid}",
            "FLAGS": f"FLAGS ({flags})",
            "RFC822.SIZE": f"RFC822.SIZE {row.size}",
            "INTERNALDATE": f'INTERNALDATE "{encode_date_time(row.date).decode()}"',
            "MODSEQ": f"MODSEQ ({row.modseq})",
        }
        expected += f"* {at + 1} FETCH ({' '.join(values[name] for name in names)})\r\n".encode()
    assert lines(selected(60 if recent else 2**32), columns, positions, names) == expected


@given(st.lists(st.integers(-(2**40), 2**40)))
def test_dates(dates: list[int]) -> None:
    assert date_texts(dates) == [encode_date_time(date).decode() for date in dates]


def test_a_hundred_thousand_flags_within_the_budget() -> None:
    """50 ms of CPU on an idle machine; here four times as much, as others may use the caches."""
    columns = made(100_000)
    written = 0

    def write(octets: bytes) -> None:
        nonlocal written
        written += len(octets)

    async def drain() -> None: ...

    out: Any = SimpleNamespace(write=write, drain=drain)
    started = time.process_time()
    asyncio.run(send_columns(out, selected(), columns, range(100_000), ["FLAGS"]))
    assert time.process_time() - started < 0.2
    assert written > 2_000_000
