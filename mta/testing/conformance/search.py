"""What a search index has to keep."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable

from mta.model.ids import BlobId
from mta.model.search import Document
from mta.testing.conformance.backend import Backend, append, arrive, rows
from mta_hooks.backends import Database
from mta_hooks.backends.search import Indexable, Search

SearchOf = Callable[[Database, Backend], Search]


def document(blob: int, text: str, *, subject: str | None = "", sender: str | None = "", complete: bool = True) -> Document:
    """``text`` is folded already."""
    whole = "\n".join(value for value in (text, subject, sender) if value)
    return Document(BlobId(blob), (subject, sender, "", "", ""), whole, complete, b"keys %d" % blob)


class SearchConformance:
    """``search_of(database, backend)`` is a fixture that returns the factory under test; the database is open when it is called."""

    @staticmethod
    def run(backend: Backend, search_of: SearchOf, *works: Callable[[Search, Database], Awaitable[None]]) -> None:
        """Each work with an index of its own over the same data, one after another, as after restarts."""

        def opened(work: Callable[[Search, Database], Awaitable[None]]) -> Callable[[Database], Awaitable[None]]:
            async def run(db: Database) -> None:
                _, inbox = await arrive(db)
                await append(db, inbox, 30)  # so that the ids used here were given
                search = search_of(db, backend)
                await search.open()
                try:
                    await work(search, db)
                finally:
                    await search.close()

            return run

        backend.run(*map(opened, works))

    def test_empty(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            assert await search.position() == 0
            assert await search.known(0, 10) == []
            found = await search.candidates("needle", [1, 2])
            assert found is None or (found.position == 0 and not found.sure and not found.unsure)
            assert await search.keys([1, 2]) == {}

        self.run(backend, search_of, work)

    def test_takes_and_finds(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            taken = await search.index([document(1, "a needle here"), document(3, "hay")], after=0, upto=4, unheld=[BlobId(2)])
            assert taken
            assert await search.position() == 4
            found = await search.candidates("needle", [1, 2, 3, 4])
            assert found is not None
            assert found.position == 4
            assert 1 in found.unsure | found.sure
            assert 2 in found.unsure  # never seen: it may hold anything
            assert not {3, 4} & (found.unsure | found.sure)
            assert await search.keys([1, 2, 3, 7]) == {1: b"keys 1", 3: b"keys 3"}

        self.run(backend, search_of, work)

    def test_too_short_to_say(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            await search.index([document(1, "ab")], after=0, upto=1)
            for text in ("a", "ab"):
                found = await search.candidates(text, [1])
                assert found is None or 1 in found.unsure | found.sure

        self.run(backend, search_of, work)

    def test_any_characters(self, backend: Backend, search_of: SearchOf) -> None:
        texts = [
            'quo"te" marks',
            "null\0inside",
            "50% off_now",
            "日本語のテキスト",
            "a\ud800lone",
            "it's \\ back",
            "tab\there",
            "(near and or not)",
            "😀😀😀 smile",
        ]

        async def work(search: Search, _: Database) -> None:
            await search.index([document(at, text, subject=text) for at, text in enumerate(texts, 1)], after=0, upto=len(texts))
            for at, text in enumerate(texts, 1):
                found = await search.candidates(text, list(range(1, 20)))
                assert found is None or at in found.unsure | found.sure, text
                found = await search.with_field("subject", text, list(range(1, 20)))
                assert found is None or at in found.unsure | found.sure, text

        self.run(backend, search_of, work)

    def test_fields(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            documents = [
                document(1, "x", subject="one two"),
                document(2, "one two", subject="three"),
                document(3, "x one two", subject=None),
            ]
            await search.index(documents, after=0, upto=4, unheld=[BlobId(4)])
            for text in ("one", "e t", "o"):
                found = await search.with_field("subject", text, [1, 2, 3, 4])
                if found is not None:
                    assert 1 in found.sure | found.unsure
                    assert 3 in found.unsure
                    assert 2 not in found.sure or text == "e t"
            assert await search.with_field("x-other", "one", [1]) is None

        self.run(backend, search_of, work)

    def test_cut_documents_are_always_candidates(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            await search.index([document(1, "hay", complete=False), document(2, "hay")], after=0, upto=2)
            found = await search.candidates("needle", [1, 2])
            assert found is not None
            assert found.unsure == {1}

        self.run(backend, search_of, work)

    def test_one_who_is_late_changes_nothing(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            assert await search.index([document(1, "first")], after=0, upto=1)
            assert not await search.index([document(2, "second")], after=0, upto=2)
            assert await search.position() == 1
            assert await search.known(0, 10) == [1]

        self.run(backend, search_of, work)

    def test_add_replaces(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            await search.index([document(1, "before")], after=0, upto=2, unheld=[BlobId(2)])
            assert await search.unheld(0, 10) == [2]
            await search.add([document(1, "after"), document(2, "after")])
            assert await search.unheld(0, 10) == []
            assert await search.position() == 2
            found = await search.candidates("before", [1, 2])
            assert found is not None
            assert not found.unsure | found.sure
            found = await search.candidates("after", [1, 2])
            assert found is not None
            assert found.unsure | found.sure == {1, 2}

        self.run(backend, search_of, work)

    def test_forget(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            await search.index([document(1, "needle"), document(2, "needle")], after=0, upto=3, unheld=[BlobId(3)])
            assert await search.known(0, 10) == [1, 2, 3]
            assert await search.known(1, 1) == [2]
            await search.forget([BlobId(1), BlobId(3)])
            assert await search.known(0, 10) == [2]
            found = await search.candidates("needle", [1, 2, 3])
            assert found is not None
            assert found.unsure | found.sure == {2}
            assert await search.keys([1, 2]) == {2: b"keys 2"}

        self.run(backend, search_of, work)

    def test_clear(self, backend: Backend, search_of: SearchOf) -> None:
        async def work(search: Search, _: Database) -> None:
            await search.index([document(1, "needle")], after=0, upto=9)
            await search.clear()
            assert await search.position() == 0
            assert await search.known(0, 10) == []
            assert await search.index([document(1, "needle")], after=0, upto=1)

        self.run(backend, search_of, work)

    def test_a_restart_keeps_it(self, backend: Backend, search_of: SearchOf) -> None:
        async def before(search: Search, _: Database) -> None:
            await search.index([document(1, "needle")], after=0, upto=2, unheld=[BlobId(2)])

        async def after(search: Search, _: Database) -> None:
            assert await search.position() == 2
            found = await search.candidates("needle", [1, 2])
            assert found is not None
            assert found.unsure | found.sure == {1, 2}

        self.run(backend, search_of, before, after)


class IndexableConformance:
    """For mail stores whose messages can be indexed."""

    def test_backlog(self, backend: Backend) -> None:
        async def work(db: Database) -> None:
            store = db.store
            assert isinstance(store, Indexable)
            _, inbox = await arrive(db)
            await append(db, inbox, 5)
            there = await rows(db, inbox)
            blobs = sorted(row.blob for row in there)
            seen: list[int] = []
            after = 0
            for _ in range(10):
                backlog = await store.backlog(after, 2)
                assert len(backlog.held) + len(backlog.unheld) <= 2
                assert backlog.newest >= blobs[-1]
                seen += [blob for blob, _ in backlog.held]
                assert {blob for blob in blobs if blob <= backlog.upto} <= set(seen)
                after = backlog.upto
                if after >= backlog.newest:
                    break
            assert set(blobs) <= set(seen)
            sizes = dict((await store.backlog(0, 1000)).held)
            assert [sizes[row.blob] for row in there] == [row.size for row in there]

        backend.run(work)

    def test_holding(self, backend: Backend) -> None:
        async def work(db: Database) -> None:
            store = db.store
            assert isinstance(store, Indexable)
            _, inbox = await arrive(db)
            await append(db, inbox, 2)
            there = await rows(db, inbox)
            nobody = BlobId(2**40)
            held, gone = await store.holding([there[0].blob, there[1].blob, nobody])
            assert sorted(held) == sorted((row.blob, row.size) for row in there)
            assert gone == [nobody]
            await store.remove(inbox.id, [there[0].uid])
            held, gone = await store.holding([there[0].blob])
            assert held == []
            assert gone == []  # kept for undelete

        backend.run(work)
