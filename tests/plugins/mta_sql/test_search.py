"""The public suite on our indexes; what is special about SQLite's own file."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path

import pytest

from mta.model.errors import TemporaryFailure
from mta.model.ids import BlobId
from mta.model.search import Document
from mta.testing import conformance
from mta.testing.conformance import Backend
from mta.testing.conformance.search import SearchOf, document
from mta.testing.memory import MemoryDatabase
from mta.testing.memory.search import MemorySearch, SearchData
from mta_hooks.backends import Database
from mta_hooks.backends.search import Search
from mta_sql import open_search
from mta_sql.grams import asked, grams
from mta_sql.search import SqliteSearch


@pytest.fixture
def search_of() -> SearchOf:
    data = SearchData()

    def make(database: Database, backend: Backend) -> Search:
        return MemorySearch(data) if isinstance(database, MemoryDatabase) else open_search("sql", database, backend.options())

    return make


class TestSearch(conformance.SearchConformance): ...


class TestIndexable(conformance.IndexableConformance): ...


def about(identity: str, newest: int) -> SqliteSearch:
    async def told() -> tuple[str, int]:
        return identity, newest

    return SqliteSearch(Path(), told)


async def opened(folder: Path, identity: str = "one", newest: int = 100) -> SqliteSearch:
    search = about(identity, newest)
    search._path = folder / "search.db"
    await search.open()
    return search


async def filled(folder: Path) -> None:
    search = await opened(folder)
    await search.index([document(1, "needle")], after=0, upto=50)
    await search.close()


@pytest.mark.parametrize(("identity", "newest", "position"), [("one", 100, 50), ("one", 50, 50), ("one", 49, 0), ("two", 100, 0)])
def test_an_index_of_other_data_is_made_anew(tmp_path: Path, identity: str, newest: int, position: int) -> None:
    async def run() -> None:
        await filled(tmp_path)
        search = await opened(tmp_path, identity, newest)
        assert await search.position() == position
        assert (await search.known(0, 10) == [1]) is (position > 0)
        await search.close()

    asyncio.run(run())


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    async def run() -> None:
        await filled(tmp_path)
        (tmp_path / "search.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
        search = await opened(tmp_path)
        assert await search.position() == 0
        await search.index([document(1, "needle")], after=0, upto=1)
        await search.close()

    asyncio.run(run())


@pytest.mark.parametrize("damaged", [False, True])
def test_many_open_it_at_once(tmp_path: Path, damaged: bool) -> None:
    """Whoever finds it missing or damaged makes it; all see one file."""
    if damaged:
        (tmp_path / "search.db").write_bytes(b"not a database, and long enough to be looked at" * 100)

    async def run() -> None:
        searches = await asyncio.gather(*(opened(tmp_path) for _ in range(8)))
        await searches[0].index([document(1, "needle")], after=0, upto=1)
        assert [await search.position() for search in searches] == [1] * 8
        for search in searches:
            await search.close()

    asyncio.run(run())


def test_nothing_is_indexed_on_a_full_disk(tmp_path: Path) -> None:
    async def run() -> None:
        search = await opened(tmp_path)
        search._reserve = 2**62
        with pytest.raises(TemporaryFailure):
            await search.index([document(1, "needle")], after=0, upto=1)
        assert await search.position() == 0
        await search.close()

    asyncio.run(run())


def test_the_file_is_nobody_elses_to_read(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("search.db*")} == {0o600}


def test_ids_far_apart(tmp_path: Path) -> None:
    async def run() -> None:
        search = await opened(tmp_path, newest=10**12)
        await search.index(
            [document(1, "needle", subject="needle"), document(10**10, "needle", subject="hay")], after=0, upto=10**10
        )
        found = await search.with_field("subject", "needle", [1, 10**10])
        assert found is not None
        assert found.sure == {1}
        assert set(await search.keys([1, 10**10])) == {1, 10**10}
        await search.close()

    asyncio.run(run())


def test_grams() -> None:
    assert asked("ab") == []
    assert asked("abc") == ["abc"]
    long = "".join(chr(97 + at % 26) * (1 + at % 3) for at in range(200))
    assert len(asked(long)) <= 17
    assert set(asked(long)) <= grams(long)
    assert {long[:3], long[-3:]} <= set(asked(long))


def test_documents_are_values() -> None:
    assert document(1, "x") == Document(BlobId(1), ("", "", "", "", ""), "x", True, b"keys 1")
