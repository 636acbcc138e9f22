"""What a long queue costs: steps of SQLite's machine, which no other load on the computer changes, and plans of PostgreSQL."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mta.testing.postgresql import PostgreSql
from mta_hooks.backends.queue import QueueFilter
from mta_sql import housekeeping, queue, queue_admin, queue_edit
from mta_sql.dialect import Connection, Translation
from mta_sql.migrate import migrate
from mta_sql.sqlite import driver
from mta_sql.transaction import Effects, Transaction

ROWS = 20_000
NOW = time.time()
FEW = 500
"""Steps of a look-up; one that goes through all rows takes three for each, or more."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    raw = driver.connect(str(Path(tmp_path_factory.mktemp("queue")) / "q.db"), isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")
    found = Connection(raw, "sqlite", Translation("sqlite"))
    migrate(found, "test", lambda _version: None)
    numbers = range(1, ROWS + 1)
    raw.execute("BEGIN")
    raw.executemany("INSERT INTO blobs (id, size, body) VALUES (?, 1, 'x')", [(n,) for n in numbers])
    raw.executemany(
        "INSERT INTO queue_messages (id, queue_id, origin, sender, blob_id, size, skip, received_at, smtputf8, eightbit, message_id, login)"
        " VALUES (?, ?, 'smtp', 's@x.test', ?, 1, 0, ?, 0, 0, '', '')",
        [(n, f"Q{n}", n, NOW - n) for n in numbers],
    )
    raw.executemany(
        "INSERT INTO queue (message_id, local, domain, transport, site, notify, due, ready) VALUES (?, 'u', ?, 'remote', ?, '', ?, ?)",
        [(n, f"d{n % 50}.test", f"d{n % 50}.test", NOW + n, NOW + n) for n in numbers],
    )
    raw.execute("COMMIT")
    yield found
    raw.close()


def steps(connection: Connection, work: Callable[[Transaction], object]) -> int:
    count = 0

    def step() -> int:
        nonlocal count
        count += 10
        return 0

    connection.execute("BEGIN")
    connection.raw.set_progress_handler(step, 10)  # type: ignore[attr-defined]
    try:
        work(Transaction(connection, Effects()))
    finally:
        connection.raw.set_progress_handler(None, 0)  # type: ignore[attr-defined]
        connection.execute("ROLLBACK")
    return count


@pytest.mark.parametrize(
    "work",
    [
        lambda tx: queue._reclaim(tx, "me"),
        lambda tx: queue._lease(tx, "me", 100, NOW + 900, NOW, None),
        lambda tx: tx.execute(queue._NEXT).fetchone(),
        lambda tx: tx.execute(queue._ANY_DUE, (NOW,)).fetchone(),
        lambda tx: queue_admin.stats(tx.connection, NOW),
        lambda tx: queue_admin.count(tx.connection, None, NOW),
        lambda tx: tx.execute(housekeeping._NAMED).fetchall(),
        lambda tx: queue_admin.rows(tx.connection, QueueFilter(ids=("Q15000",)), 10, NOW),  # type: ignore[arg-type]
        lambda tx: queue_admin.rows(tx.connection, QueueFilter(everything=True), 1, NOW, 15_000),
        lambda tx: queue_admin.rows(tx.connection, QueueFilter(state="error"), 10, NOW),
        lambda tx: queue_admin.rows(tx.connection, QueueFilter(state="quarantine"), 10, NOW),
        lambda tx: queue_admin.count(tx.connection, QueueFilter(state="leased"), NOW),
        lambda tx: queue_admin.choose(tx.connection, QueueFilter(ids=("Q15000",)), NOW, 0, queue_admin.hold("x")),  # type: ignore[arg-type]
        lambda tx: queue_admin.choose(tx.connection, QueueFilter(rows=(5, 15_000)), NOW, 0, queue_admin.flush(NOW)),
        lambda tx: queue_admin.piece(tx, QueueFilter(text="u@"), NOW, [5, 15_000], queue_admin.delete()),
        lambda tx: queue_admin.rows(tx.connection, QueueFilter(domain="none.test"), 10, NOW),
        lambda tx: queue_admin.count(tx.connection, QueueFilter(domain="none.test"), NOW),
        lambda tx: queue_admin.choose(tx.connection, QueueFilter(recipient="u@none.test"), NOW, 0, queue_admin.hold("x")),
    ],
    ids=[
        "reclaim",
        "lease",
        "next",
        "due",
        "stats",
        "count",
        "bodies in files",
        "by id",
        "page",
        "error hold",
        "quarantine",
        "count leased",
        "hold by id",
        "flush rows",
        "delete chosen",
        "list none at a domain",
        "count none at a domain",
        "choose of an address",
    ],
)
def test_nothing_goes_through_all_rows(connection: Connection, work: Callable[[Transaction], object]) -> None:
    assert steps(connection, work) <= FEW


def test_a_scan_would_be_seen(connection: Connection) -> None:
    assert steps(connection, lambda tx: tx.execute("SELECT count(*) FROM queue WHERE last_reply = 'x'").fetchone()) >= ROWS


# ---- PostgreSQL


@pytest.fixture(scope="module")
def planned(postgresql: PostgreSql) -> Any:
    """The plan of a statement over as many rows, as PostgreSQL explains it."""
    import psycopg

    with psycopg.connect(postgresql(), autocommit=True) as raw:
        found = Connection(raw, "postgresql", Translation("postgresql"))
        migrate(found, "test", lambda _version: None)
        found.execute(
            "INSERT INTO queue_messages (queue_id, origin, blob_id, size, skip, received_at, smtputf8, eightbit, message_id, login)"
            " SELECT 'Q' || n, 'smtp', n, 1, 0, 1, 0, 0, '', '' FROM generate_series(1, CAST(? AS int)) n",
            (ROWS,),
        )
        found.execute(
            "INSERT INTO queue (message_id, local, domain, transport, site, notify, due, ready)"
            " SELECT id, 'u', d, 'remote', d, '', t, t FROM (SELECT id, 'd' || id % 50 || '.test' AS d, ? + id AS t FROM queue_messages) AS m",
            (NOW,),
        )
        found.execute("ANALYZE queue; ANALYZE queue_messages")

        def plan(sql: str, params: Any) -> str:
            return "\n".join(str(row[0]) for row in found.execute("EXPLAIN " + sql, params).fetchall())

        yield plan


FOUND = [5, 15_000]


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        (queue._ANY_DUE, (NOW,)),
        (queue._NEXT, ()),
        (queue._DUE + " FOR UPDATE SKIP LOCKED", (NOW + 1, 500)),
        (queue._DUE, (NOW + 10, queue.SCAN)),
        (queue._DUE_AT, ("d7.test", NOW + 1, 500)),
        (queue._SITES, ()),
        (queue._STILL_DUE, (FOUND, NOW)),
        (queue._TAKE, (NOW, "me", FOUND)),
        (queue._LEASED, (FOUND,)),
        (queue._RECLAIM, ("me",)),
        (queue_edit._ROWS, (15_000, NOW)),
    ],
    ids=[
        "any due",
        "next",
        "due",
        "due beside full sites",
        "due at a site",
        "sites",
        "still due",
        "take",
        "leased",
        "reclaim",
        "edit",
    ],
)
def test_postgresql_finds_rows_by_index(planned: Any, sql: str, params: Any) -> None:
    assert "Seq Scan" not in planned(sql, params)


def test_a_scan_of_postgresql_would_be_seen(planned: Any) -> None:
    assert "Seq Scan" in planned("SELECT count(*) FROM queue WHERE last_reply = ?", ("x",))


@pytest.mark.parametrize("few", [0, 10**6], ids=["among all", "by the index on sites"])
def test_a_domain_is_found_either_way(connection: Connection, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(queue_admin, "FEW", few)
    wanted = QueueFilter(domain="D7.test")
    page = queue_admin.rows(connection, wanted, 3, NOW, 100)
    assert [row.row for row in page] == [107, 157, 207]
    assert queue_admin.count(connection, wanted, NOW) == ROWS // 50
    assert queue_admin.choose(connection, wanted, NOW, 19_900, queue_admin.flush(NOW)) == [19_907, 19_957]
    assert queue_admin.count(connection, QueueFilter(recipient="U@d7.test"), NOW) == ROWS // 50
