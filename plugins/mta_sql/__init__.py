"""Storage on SQLite and PostgreSQL: spool, mailboxes, queue, directory, outbox, traces, key-value state, blobs.

One schema (``schema.py``), one SQL text for both (``dialect.py``), one writer per process that commits many operations
together (``writer.py``); everything else is a role over these. Nothing here is imported before a database is made, so
that listing plugins stays cheap.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta_hooks import hookimpl
from mta_sql.measures import numbers

if TYPE_CHECKING:
    from mta_hooks.backends import Blobs, Database, DatabaseOptions
    from mta_hooks.backends.search import Search
    from mta_hooks.lookup import TableBackend, TableOptions
    from mta_hooks.services import Registry


def open_database(url: str, options: "DatabaseOptions") -> "Database":
    """Make the database for ``sqlite``, ``sqlite:///path`` or ``postgresql://…``; nothing is touched before ``open``."""
    from mta_sql.database import SqlDatabase

    return SqlDatabase(url, options)


def open_search(url: str, database: "Database", options: "DatabaseOptions") -> "Search":
    """The full-text index that goes with ``database``; nothing is touched before ``open``."""
    from mta_sql.search_factory import make_search

    return make_search(url, database, options)


def open_files(url: str, options: "DatabaseOptions") -> "Blobs":
    """Large bodies as files, for ``storage.blobs``."""
    from mta_sql.blobs import files_at

    return files_at(url, options.data_dir)


def open_table(source: str, options: "TableOptions") -> "TableBackend":
    """A table by SELECT: ``sql:SELECT …``, or ``sql:/path`` of a file in Postfix's form (``pgsql:``, ``mysql:``, ``sqlite:`` too)."""
    from mta_sql.lookup import SqlTable

    return SqlTable(source, options)


@hookimpl
def register(registry: "Registry") -> None:
    registry.backend("database", "sqlite", open_database)
    registry.backend("database", "postgresql", open_database)
    registry.metrics(numbers)
    registry.backend("blob", "file", open_files)
    registry.backend("search", "sql", open_search)
    for scheme in ("sql", "pgsql", "mysql", "sqlite"):
        registry.backend("table", scheme, open_table)
