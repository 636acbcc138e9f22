"""What a storage plugin provides. Each Protocol has a conformance suite in ``mta.testing.conformance``."""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks.backends.accounts import Account, Accounts, AccountsOptions
from mta_hooks.backends.blobs import Blobs
from mta_hooks.backends.database import Database, DatabaseOptions, Outbox, Spool, Traces
from mta_hooks.backends.directory import Directory
from mta_hooks.backends.extras import Annotations, Extras, Quotas, Shared, Sharing, Undelete, extras_of
from mta_hooks.backends.flagging import Flagging
from mta_hooks.backends.numbering import Numbering
from mta_hooks.backends.queue import Queue
from mta_hooks.backends.replacing import Replacing
from mta_hooks.backends.save_dates import SaveDates
from mta_hooks.backends.search import Indexable, Search
from mta_hooks.backends.store import MailStore, SeparateStore, StoreOptions
from mta_hooks.backends.tables import Schema, SchemaRecord, Tables

__all__ = [
    "Account",
    "Accounts",
    "AccountsOptions",
    "Annotations",
    "Blobs",
    "Database",
    "DatabaseOptions",
    "Directory",
    "Extras",
    "Flagging",
    "Indexable",
    "MailStore",
    "Numbering",
    "Outbox",
    "Queue",
    "Quotas",
    "Replacing",
    "SaveDates",
    "Schema",
    "SchemaRecord",
    "Search",
    "SeparateStore",
    "Shared",
    "Sharing",
    "Spool",
    "StoreOptions",
    "Tables",
    "Traces",
    "Undelete",
    "extras_of",
]
