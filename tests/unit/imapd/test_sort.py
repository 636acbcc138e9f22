"""SORT gives the order of plain Python tuples, from the index and from messages alike; big sorts are merged from runs."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.app.indexing import Indexer
from mta.imapd import sort
from mta.obs.log import Log
from mta.testing.imapd import ImapSite
from mta.testing.memory.search import MemorySearch
from mta.testing.smtpd import FakeClock


@dataclass(frozen=True)
class Made:
    sent: int
    subject: str
    sender: str
    padding: int
    arrived: int

    @property
    def octets(self) -> bytes:
        date = b"" if self.sent < 0 else b"Date: 1 Jan 1970 00:00:%02d +0000\r\n" % self.sent
        head = f"Subject: {self.subject}\r\nFrom: {self.sender}\r\n".encode()
        return date + head + b"\r\n" + b"x" * self.padding

    def value(self, name: str) -> Any:
        base = self.subject.lower().removeprefix("re: ")
        local, _, display = self.sender.partition("@")[0].rpartition("<")[::-1]
        values: dict[str, Any] = {
            "DATE": self.arrived if self.sent < 0 else self.sent,
            "ARRIVAL": self.arrived,
            "SIZE": len(self.octets),
            "SUBJECT": base,
            "FROM": local.lower(),
            "DISPLAYFROM": display.strip().lower() or self.sender.lower(),
        }
        return values[name]


MADE = st.builds(
    Made,
    st.integers(-1, 4),
    st.sampled_from(["x", "Re: x", "y", "Z", "re: A"]),
    st.sampled_from(["a@one.example", "B@two.example", "Zoe <a@one.example>", "ann <c@one.example>"]),
    st.integers(0, 3),
    st.integers(0, 4),
)
CRITERIA = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["DATE", "ARRIVAL", "SIZE", "SUBJECT", "FROM", "DISPLAYFROM"])), min_size=1, max_size=3
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MADE, min_size=1, max_size=9), CRITERIA, st.integers(0, 9))
def test_order(monkeypatch: pytest.MonkeyPatch, made: list[Made], criteria: list[tuple[bool, str]], indexed: int) -> None:
    monkeypatch.setattr(sort, "_RUN", 3)
    expected = list(range(len(made)))
    for reverse, name in reversed(criteria):
        values = [each.value(name) for each in made]
        expected.sort(key=values.__getitem__, reverse=reverse)
    words = " ".join(("REVERSE " if reverse else "") + name for reverse, name in criteria)

    async def run() -> list[bytes]:
        site = await ImapSite().open()
        index = MemorySearch()
        indexer = Indexer(store=site.database.store, search=index, clock=FakeClock(0.0), log=Log())
        for number, each in enumerate(made):
            if number == indexed:
                await indexer.catch_up(lambda _position, _newest: None)
            await site.deliver(each.octets, date=each.arrived)
        link, transport = await site.login(b"EXAMINE INBOX")
        said = []
        for search in (None, index, index):  # the second time with what was kept
            site.server.search = search
            said.append(await site.talk(link, transport, f"a SORT ({words}) UTF-8 ALL\r\n".encode()))
            if search is None:
                site.server.sort_keys = (site.server.sort_keys[0], {})
        indexer.close()
        await site.tasks.close()
        return said

    for said in asyncio.run(run()):
        found = re.match(rb"\* SORT([ \d]*)\r\na OK", said)
        assert found, said
        assert [int(n) - 1 for n in found[1].split()] == expected
