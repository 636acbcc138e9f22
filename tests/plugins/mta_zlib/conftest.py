"""The database with its large bodies in compressed files."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from mta.testing.conformance import Backend
from mta_sql import open_database
from mta_zlib import open_blobs


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    folder = tmp_path / "compressed"

    def make(options):
        return open_database("sqlite", options.__class__(**{**_fields(options), "blobs": (open_blobs(f"zlib:{folder}", options),)}))

    return Backend(make, tmp_path)


def _fields(options):
    return {name: getattr(options, name) for name in options.__slots__}
