"""Every suite on every backend: in memory, on SQLite, on PostgreSQL."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from mta.testing.conformance import Backend
from mta.testing.memory import Data, MemoryDatabase
from mta_sql import open_database


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "memory":
        data = Data()
        return Backend(lambda options: MemoryDatabase(options, data), tmp_path)
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    return Backend(lambda options: open_database(url, options), tmp_path)
