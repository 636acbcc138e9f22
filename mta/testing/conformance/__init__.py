"""What every storage backend has to keep: run these suites on yours.

    import pytest
    from mta.testing.conformance import Backend, MailStoreConformance, QueueConformance   # and the others

    @pytest.fixture
    def backend(tmp_path):
        return Backend(lambda options: MyDatabase("mine://…", options), tmp_path)

    class TestMailStore(MailStoreConformance): ...
    class TestQueue(QueueConformance): ...

Two databases made by one ``Backend`` share their data, as two processes do, and so do one closed and one opened later.
Call ``pytest.register_assert_rewrite("mta.testing.conformance")`` in conftest.py to see values in failures.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.testing.conformance.accounts import AccountsConformance, Elsewhere
from mta.testing.conformance.app_passwords import AppPasswordsConformance
from mta.testing.conformance.backend import NOW, Backend, Told, append, arrive, deliver, intake, rows
from mta.testing.conformance.blobs import BlobsConformance
from mta.testing.conformance.database import DatabaseConformance
from mta.testing.conformance.directory import DirectoryConformance
from mta.testing.conformance.extras import AnnotationsConformance, QuotasConformance, SharingConformance
from mta.testing.conformance.mailboxes import MailboxesConformance
from mta.testing.conformance.mailstore import MailStoreConformance
from mta.testing.conformance.queue import QueueConformance
from mta.testing.conformance.replacing import (
    FlaggingConformance,
    NumberingConformance,
    ReplacingConformance,
    SaveDatesConformance,
    StableIdsConformance,
)
from mta.testing.conformance.search import IndexableConformance, SearchConformance
from mta.testing.conformance.separate import SeparateStoreConformance
from mta.testing.conformance.spool import SpoolConformance
from mta.testing.conformance.tables import TablesConformance
from mta.testing.conformance.traces import TracesConformance

__all__ = [
    "NOW",
    "AccountsConformance",
    "AnnotationsConformance",
    "AppPasswordsConformance",
    "Backend",
    "BlobsConformance",
    "DatabaseConformance",
    "DirectoryConformance",
    "Elsewhere",
    "IndexableConformance",
    "MailStoreConformance",
    "MailboxesConformance",
    "NumberingConformance",
    "QueueConformance",
    "QuotasConformance",
    "FlaggingConformance",
    "ReplacingConformance",
    "SaveDatesConformance",
    "SearchConformance",
    "SeparateStoreConformance",
    "SharingConformance",
    "SpoolConformance",
    "StableIdsConformance",
    "TablesConformance",
    "Told",
    "TracesConformance",
    "append",
    "arrive",
    "deliver",
    "intake",
    "rows",
]
