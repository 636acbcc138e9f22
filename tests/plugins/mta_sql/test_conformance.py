"""The public suites on our backends."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.testing import conformance


class TestMailboxes(conformance.MailboxesConformance): ...


class TestMailStore(conformance.MailStoreConformance): ...


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
class TestFlagging(conformance.FlaggingConformance): ...


class TestNumbering(conformance.NumberingConformance): ...


class TestReplacing(conformance.ReplacingConformance): ...


class TestSaveDates(conformance.SaveDatesConformance): ...


class TestStableIds(conformance.StableIdsConformance): ...


class TestDirectory(conformance.DirectoryConformance): ...


class TestSpool(conformance.SpoolConformance): ...


class TestQueue(conformance.QueueConformance): ...


class TestBlobs(conformance.BlobsConformance): ...


class TestDatabase(conformance.DatabaseConformance): ...


class TestTables(conformance.TablesConformance): ...


class TestTraces(conformance.TracesConformance): ...


class TestQuotas(conformance.QuotasConformance): ...


class TestSharing(conformance.SharingConformance): ...


class TestAnnotations(conformance.AnnotationsConformance): ...


class TestAppPasswords(conformance.AppPasswordsConformance): ...
