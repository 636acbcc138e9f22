"""One SQL text for two databases.

Statements are written once, with ``?`` for a parameter, ``IN ARRAY ?`` for membership in a list, ``COLUMN(x)`` for all values
of a column as one (``Connection.column`` makes a list of it), and PostgreSQL's row locks. ``Translation`` makes the driver's form of each text once per process; after that a statement costs one
dictionary look-up. What SQLite lacks (row locks: its only writer needs none) is left out of the text.

Both sides have RETURNING, ON CONFLICT, window functions and recursive queries, so nothing else differs.
"""
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

DialectName = Literal["sqlite", "postgresql"]
Params = Sequence[Any]


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int, /) -> list[Any]: ...
    def fetchall(self) -> list[Any]: ...


class DriverConnection(Protocol):
    """The part of sqlite3.Connection and psycopg.Connection that is used."""

    def execute(self, sql: str, params: Any = ..., /) -> Any: ...
    def cursor(self) -> Any: ...
    def close(self) -> None: ...


class Translation(dict[str, str]):
    """Our text → the driver's."""

    def __init__(self, dialect: DialectName) -> None:
        super().__init__()
        self._dialect = dialect

    def __missing__(self, sql: str) -> str:
        if self._dialect == "sqlite":
            text = sql.replace("IN ARRAY ?", "IN (SELECT value FROM json_each(?))").replace("COLUMN(", "json_group_array(")
            text = text.replace(" FOR UPDATE SKIP LOCKED", "").replace(" FOR UPDATE", "")
        else:
            text = sql.replace("%", "%%").replace("IN ARRAY ?", "= ANY(?)").replace("COLUMN(", "array_agg(").replace("?", "%s")
        self[sql] = text
        return text


class Connection:
    """A driver connection that speaks our text. Used by one thread at a time."""

    __slots__ = ("alchemy", "array", "column", "dialect", "raw", "_execute", "_translation")

    def __init__(self, raw: DriverConnection, dialect: DialectName, translation: Translation) -> None:
        self.raw = raw
        self.alchemy: Any = None  # see alchemy.over
        self.dialect = dialect
        self.array: Callable[[Iterable[Any]], Any] = json_array if dialect == "sqlite" else list
        self.column: Callable[[Any], list[Any]] = json.loads if dialect == "sqlite" else _given
        self._execute = raw.execute
        self._translation = translation

    def execute(self, sql: str, params: Params = ()) -> Cursor:
        return self._execute(self._translation[sql], params)  # type: ignore[no-any-return]

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        self.raw.cursor().executemany(self._translation[sql], rows)


def _given(values: list[Any] | None) -> list[Any]:
    """What PostgreSQL aggregates from no row is NULL."""
    return values or []


def json_array(values: Iterable[Any]) -> str:
    """The list as SQLite's json_each reads it."""
    items = list(values)
    if items and isinstance(items[0], str):
        return json.dumps(items)
    return "[" + ",".join(map(str, items)) + "]"
