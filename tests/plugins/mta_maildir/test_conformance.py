"""The public suites of a store, on Maildirs."""
# SPDX-License-Identifier: Apache-2.0

from mta.testing import conformance


class TestMailboxes(conformance.MailboxesConformance): ...


class TestMailStore(conformance.MailStoreConformance): ...


class TestSeparateStore(conformance.SeparateStoreConformance): ...
