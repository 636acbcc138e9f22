"""Databases with their mailboxes in Maildirs below the test's folder."""
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from mta.app.apart import apart
from mta.testing.conformance import Backend
from mta.testing.memory import Data, MemoryDatabase
from mta_maildir import open_store


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """Below it: DOMAIN/USER."""
    folder = tmp_path / "mail"
    folder.mkdir()
    return folder


@pytest.fixture
def backend(tmp_path: Path, mail: Path) -> Backend:
    data = Data()
    url = f"maildir:{mail}/%d/%n"
    return Backend(lambda options: apart(MemoryDatabase(options, data), options, lambda more: open_store(url, more)), tmp_path)
