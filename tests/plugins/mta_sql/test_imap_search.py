"""SEARCH over an index gives what the texts say that the messages were made from: before, while and after they are indexed."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import quopri
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.header import Header
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.app.indexing import Indexer
from mta.imapd import search
from mta.obs.log import Log
from mta.testing.imapd import ImapSite
from mta.testing.memory.search import MemorySearch
from mta.testing.smtpd import FakeClock
from mta_hooks.backends import Database, DatabaseOptions
from mta_hooks.backends.search import Search
from mta_sql import open_database, open_search

WORDS = {
    "us-ascii": ["needle", "Haystack", "a", "of", "x(y)", 'quo"te', "back\\slash", "needles", "edl"],
    "utf-8": ["Straße", "needle", "ﬁnden", "école", "日本語", "Ωmega", "ab", "ﬀ", "Ǆ"],
    "iso-8859-1": ["école", "Straße", "ÅNGSTRÖM", "needle"],
    "koi8-r": ["привет", "МИР", "needle"],
    "iso-2022-jp": ["日本語", "検索", "needle"],
    "windows-1251": ["ПРИВЕТ", "мир"],
    "utf-16": ["Straße", "検索", "needle"],
    "gb18030": ["检索", "needle", "日本語"],
}
TERMS = [
    "needle", "NEEDL", "edl", "ee", "a", "STRASSE", "straße", "finden", "ffi", "e\u0301cole", "École", "ånGStröm", "ПРИВЕТ", "мир", "и",
    "日本語", "本", "検索", "检索", "ω", "ǆ", "dž", "hay", "stack needle", "x(y)", 'o"t', "k\\s", "nothing", "report", "Straße.txt",
]  # fmt: skip
ENCODINGS = ["8bit", "base64", "quoted-printable"]


@dataclass(frozen=True)
class Made:
    """A message and the texts in it."""

    subject: str
    sender: str
    body: str
    name: str
    """Of an attached file; "" when there is none."""
    octets: bytes


def encoded(charset: str, how: str, body: str) -> bytes:
    octets = body.encode(charset)
    if charset == "utf-16":
        how = "base64"
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {how}\r\n\r\n".encode()
    if how == "base64":
        return head + base64.encodebytes(octets)
    return head + (quopri.encodestring(octets) if how == "quoted-printable" else octets) + b"\r\n"


def field(charset: str, text: str) -> bytes:
    if charset == "us-ascii":
        return text.encode()
    if charset == "utf-16":
        charset = "utf-8"
    return Header(text, charset, maxlinelen=60, continuation_ws=" ").encode(linesep="\r\n").encode()


@st.composite
def messages(draw: Any) -> Made:
    charset = draw(st.sampled_from(sorted(WORDS)))
    words = WORDS[charset]
    subject = " ".join(draw(st.lists(st.sampled_from(words), max_size=3)))
    sender = draw(st.sampled_from(words))
    body = " ".join(draw(st.lists(st.sampled_from(words), max_size=6)))
    part = encoded(charset, draw(st.sampled_from(ENCODINGS)), body)
    name = draw(st.sampled_from(["", "", "report needle.pdf", "Straße.txt"]))
    display = sender if charset != "us-ascii" else "someone"
    head = b"Subject: " + field(charset, subject) + b"\r\nFrom: " + field(charset, display) + b" <a@b.example>\r\n"
    if not name:
        return Made(subject, display, body, "", head + part)
    octets = head + b"Content-Type: multipart/mixed; boundary=frontier\r\n\r\n--frontier\r\n" + part
    octets += b"\r\n--frontier\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    octets += b"Content-Disposition: attachment; filename*=utf-8''" + "".join(f"%{o:02x}" for o in name.encode()).encode()
    return Made(subject, display, body, name, octets + b"\r\n\r\nAAAA\r\n--frontier--\r\n")


def fold(text: str) -> str:
    titles = [title if len(title := each.title()) == 1 else each for each in text]
    return normalize("NFKD", "".join(titles))


def leaf_holds(key: str, term: str, made: Made) -> bool:
    texts = {"SUBJECT": [made.subject], "FROM": [f"{made.sender} <a@b.example>"], "BODY": [made.body, made.name]}
    texts["TEXT"] = [f"Subject: {made.subject}", f"From: {made.sender} <a@b.example>", made.body, made.name]
    lines = made.octets.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    texts["TEXT"] += [line for line in lines if line.startswith("Content-")]
    texts["HEADER Subject"] = texts["SUBJECT"]
    return any(fold(term) in fold(text) for text in texts[key])


@dataclass(frozen=True)
class Query:
    octets: bytes
    holds: Callable[[Made], bool]


def leaf(key: str, term: str) -> Query:
    octets = term.encode()
    return Query(b"%b {%d+}\r\n%b" % (key.encode(), len(octets), octets), lambda made: leaf_holds(key, term, made))


LEAF = st.builds(leaf, st.sampled_from(["SUBJECT", "FROM", "BODY", "TEXT", "HEADER Subject"]), st.sampled_from(TERMS))
QUERY = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        inner.map(lambda q: Query(b"NOT " + q.octets, lambda made: not q.holds(made))),
        st.tuples(inner, inner).map(
            lambda p: Query(b"OR %b %b" % (p[0].octets, p[1].octets), lambda made: p[0].holds(made) or p[1].holds(made))
        ),
        st.tuples(inner, inner).map(
            lambda p: Query(b"(%b %b)" % (p[0].octets, p[1].octets), lambda made: p[0].holds(made) and p[1].holds(made))
        ),
    ),
    max_leaves=4,
)


async def check(site: ImapSite, index: Search, found: Sequence[Made], queries: Sequence[Query], steps: int) -> None:
    indexer = Indexer(store=site.database.store, search=index, clock=FakeClock(0.0), log=Log())
    for made in found[: len(found) // 2]:
        await site.deliver(made.octets)
    source: Any = site.database.store
    for _ in range(steps):
        await indexer.step(source)
    for made in found[len(found) // 2 :]:
        await site.deliver(made.octets)
    site.server.search = index
    link, transport = await site.login(b"EXAMINE INBOX")
    for everything in (False, True):
        if everything:
            await indexer.catch_up(lambda _position, _newest: None)
            assert (await source.backlog(await index.position(), 10)).held == []
        for query in queries:
            said = await site.talk(link, transport, b"a SEARCH CHARSET UTF-8 " + query.octets + b"\r\n")
            answer = re.match(rb"\* SEARCH([ \d]*)\r\na OK", said)
            assert answer, said
            expected = [at for at, made in enumerate(found, 1) if query.holds(made)]
            assert [int(n) for n in answer[1].split()] == expected, (query.octets, everything)
    indexer.close()
    await site.tasks.close()


async def in_database(url: str, found: Sequence[Made], queries: Sequence[Query], steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = DatabaseOptions(folder, reserve=0)
        database: Database = open_database(url, options)
        site = await ImapSite(database=lambda _options: database, data_dir=str(Path(folder))).open()
        index = open_search("sql", database, options)
        await index.open()
        try:
            await check(site, index, found, queries, steps)
        finally:
            await index.close()
            await database.close()


@pytest.fixture(autouse=True)
def every_query_asks_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW", 0)


WHATEVER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = given(st.lists(messages(), min_size=1, max_size=8), st.lists(QUERY, min_size=3, max_size=6), st.integers(0, 2))


@settings(WHATEVER, max_examples=50)
@MANY
def test_memory(found: list[Made], queries: list[Query], steps: int) -> None:
    async def run() -> None:
        await check(await ImapSite().open(), MemorySearch(), found, queries, steps)

    asyncio.run(run())


@settings(WHATEVER, max_examples=15)
@MANY
def test_sqlite(found: list[Made], queries: list[Query], steps: int) -> None:
    asyncio.run(in_database("sqlite", found, queries, steps))


@settings(WHATEVER, max_examples=5)
@MANY
def test_postgresql(postgresql: Any, found: list[Made], queries: list[Query], steps: int) -> None:
    asyncio.run(in_database(postgresql(), found, queries, steps))
