"""The schema, once for both databases. Imported only when a database is made or migrated.

Invariants (``verify.py`` checks them):
- ``mailboxes`` carries the counters of its messages; whoever changes messages changes them in the same transaction.
- uid < uid_next and modseq <= highest_modseq for every message and tombstone of a mailbox.
- A blob is referenced by messages, tombstones or queue_messages, or its id stands in ``loose``.
- ``queue_messages`` has at least one row in ``queue``.
- Ids are never reused (AUTOINCREMENT, identity); uid_validity is a counter, not a clock.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from mta_sql.dialect import DialectName

metadata = MetaData()

_Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by itself only for INTEGER PRIMARY KEY


def _table(name: str, *columns: Any) -> Table:
    """A table whose ids are never given twice."""
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def _plain(name: str, *columns: Any) -> Table:
    """A table whose ids nobody keeps: SQLite need not remember the highest one, which saves a page write."""
    return Table(name, metadata, *columns)


def _clustered(name: str, *columns: Any) -> Table:
    """A table whose rows lie in primary-key order on SQLite: one tree instead of two."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _id() -> "Column[int]":
    return Column("id", _Id, primary_key=True)


def _column(name: str, kind: Any, default: str | None = None) -> "Column[Any]":
    return Column(name, kind, nullable=False, server_default=default)


schema_version = _plain(
    "schema_version", Column("version", Integer, primary_key=True, autoincrement=False), _column("made", Double)
)
counters = _clustered("counters", Column("name", Text, primary_key=True), _column("value", BigInteger))
commits = _clustered(
    "commits", Column("token", Text, primary_key=True), _column("made", Double)
)  # PostgreSQL only: see postgres.py

# ---- directory

domains = _clustered("domains", Column("name", Text, primary_key=True), _column("kind", Text))
users = _table(
    "users",
    _id(),
    _column("domain", Text),
    _column("local", Text),  # as given; look-ups go by ``lowered``
    _column("lowered", Text),
    Column("password_hash", Text),
    _column("enabled", SmallInteger, "1"),
    _column("quota", BigInteger, "0"),
    Column("scram", Text),  # keys of the same password, for mechanisms that never see it
    _column("quota_messages", BigInteger, "0"),
    UniqueConstraint("domain", "lowered"),
)
app_passwords = _clustered(
    "app_passwords",
    _column("user_id", BigInteger),
    _column("name", Text),
    _column("tag", Text),
    _column("password_hash", Text),
    _column("scram", Text),
    _column("services", Text),
    _column("made", Double),
    Column("used", Double),
    PrimaryKeyConstraint("user_id", "name"),
)
aliases = _clustered(
    "aliases",
    Column("source", Text, primary_key=True),
    _column("domain", Text),
    _column("targets", Text),
    Index("aliases_domain", "domain"),
)

# ---- mailboxes

mailboxes = _table(
    "mailboxes",
    _id(),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    _column("name", Text),
    _column("uid_validity", BigInteger),
    _column("uid_next", BigInteger, "1"),
    _column("highest_modseq", BigInteger, "1"),
    _column("recent_uid", BigInteger, "1"),
    _column("forgotten_modseq", BigInteger, "0"),  # tombstones up to here may be gone
    _column("messages", BigInteger, "0"),
    _column("unseen", BigInteger, "0"),
    _column("deleted", BigInteger, "0"),
    _column("size", BigInteger, "0"),
    _column("deleted_size", BigInteger, "0"),
    _column("special_use", Text, ""),
    UniqueConstraint("user_id", "name"),
)
subscriptions = _clustered(
    "subscriptions", _column("user_id", BigInteger), _column("name", Text), PrimaryKeyConstraint("user_id", "name")
)
blobs = _table("blobs", _id(), _column("size", BigInteger), Column("body", LargeBinary), Column("file", Text))
# Few bodies are files: which, a sweep asks every few minutes, and must not read all the others for that.
Index("blobs_file", blobs.c.file, sqlite_where=blobs.c.file.is_not(None), postgresql_where=blobs.c.file.is_not(None))
parsed = _plain("parsed", Column("blob_id", _Id, primary_key=True, autoincrement=False), _column("octets", LargeBinary))
loose = _plain("loose", _id(), _column("blob_id", BigInteger))
messages = _clustered(
    "messages",
    _column("mailbox_id", BigInteger),
    _column("uid", BigInteger),
    _column("modseq", BigInteger),
    _column("flags", SmallInteger),
    _column("keywords", Text),
    _column("date", BigInteger),
    _column("size", BigInteger),
    _column("blob_id", BigInteger),
    Column("saved", BigInteger),  # when it came into this mailbox; NULL: at ``date``, as far as we know
    PrimaryKeyConstraint("mailbox_id", "uid"),
    Index("messages_modseq", "mailbox_id", "modseq"),
    Index("messages_blob", "blob_id"),
)
together = _clustered(  # see together.py
    "together",
    _column("mailbox_id", BigInteger),
    _column("modseq", BigInteger),
    _column("first_uid", BigInteger),
    _column("last_uid", BigInteger),
    PrimaryKeyConstraint("mailbox_id", "modseq"),
)
tombstones = _clustered(
    "tombstones",
    _column("mailbox_id", BigInteger),
    _column("uid", BigInteger),
    _column("modseq", BigInteger),
    _column("flags", SmallInteger),
    _column("keywords", Text),
    _column("date", BigInteger),
    _column("size", BigInteger),
    Column("blob_id", BigInteger),  # NULL: restored, or past ``undelete``
    _column("gone", Double),
    Column("saved", BigInteger),  # as in messages
    _column("moved", SmallInteger, "0"),  # 1: it went to another mailbox
    PrimaryKeyConstraint("mailbox_id", "uid"),
    Index("tombstones_modseq", "mailbox_id", "modseq"),
    Index("tombstones_gone", "gone"),
)
Index(
    "tombstones_blob",
    tombstones.c.blob_id,
    sqlite_where=tombstones.c.blob_id.isnot(None),
    postgresql_where=tombstones.c.blob_id.isnot(None),
)
Index(
    "tombstones_kept",
    tombstones.c.gone,
    sqlite_where=tombstones.c.blob_id.isnot(None),
    postgresql_where=tombstones.c.blob_id.isnot(None),
)
deleted_mailboxes = _plain(
    "deleted_mailboxes",
    Column("id", _Id, primary_key=True, autoincrement=False),
    _column("owner", Text),
    _column("name", Text),
    _column("gone", Double),
    Column("user_id", BigInteger),
    _column("special_use", Text, ""),
    _column("restored", SmallInteger, "0"),
)
acl = _clustered(
    "acl",
    _column("mailbox_id", BigInteger),
    _column("identifier", Text),
    _column("rights", Text),
    PrimaryKeyConstraint("mailbox_id", "identifier"),
    Index("acl_identifier", "identifier"),
)
annotations = _clustered(
    "annotations",
    _column("mailbox_id", BigInteger),  # 0: the server's
    _column("user_id", BigInteger),  # 0: everybody's
    _column("entry", Text),
    _column("value", LargeBinary),
    PrimaryKeyConstraint("mailbox_id", "user_id", "entry"),
)
flag_changes = _plain(  # flags and keywords that these messages had until ``at``; ids ascend with it
    "flag_changes",
    _id(),
    _column("mailbox_id", BigInteger),
    _column("at", Double),
    _column("flags", SmallInteger),
    _column("keywords", Text),
    _column("uids", Text),
    Index("flag_changes_mailbox", "mailbox_id"),
)
folder_changes = (
    _plain(  # until ``at`` this mailbox had this name ("": it was not there); mailbox 0: the name was subscribed, or not
        "folder_changes",
        _id(),
        _column("user_id", BigInteger),
        _column("mailbox_id", BigInteger),
        _column("at", Double),
        _column("name", Text),
        _column("subscribed", SmallInteger),
        Index("folder_changes_user", "user_id"),
    )
)

# ---- queue

queue_messages = _table(
    "queue_messages",
    _id(),
    Column("queue_id", Text, nullable=False, unique=True),
    _column("origin", Text),
    Column("sender", Text),
    _column("blob_id", BigInteger),
    _column("size", BigInteger),
    _column("skip", BigInteger),
    _column("received_at", Double),
    Column("envid", Text),
    Column("ret", Text),
    _column("smtputf8", SmallInteger),
    _column("eightbit", SmallInteger),
    _column("message_id", Text),
    _column("login", Text),
    _column("priority", SmallInteger, "0"),
    Column("deliver_by", Double),
    _column("by_mode", Text, ""),
    _column("requiretls", SmallInteger, "0"),
    Index("queue_messages_blob", "blob_id"),
)
queue = _table(
    "queue",
    _id(),
    Column("message_id", BigInteger, ForeignKey("queue_messages.id"), nullable=False),
    _column("local", Text),
    _column("domain", Text),
    _column("transport", Text),
    _column("site", Text),
    Column("user_id", BigInteger),
    Column("orcpt", Text),
    _column("notify", Text),
    _column("attempts", Integer, "0"),
    _column("due", Double),
    _column("hold", Text, ""),
    Column("ready", Double),  # when anyone may take it: due, or the end of its lease; NULL while held
    _column("owner", Text, ""),  # who holds the lease, "" when nobody
    _column("last_reply", Text, ""),
    _column("warned", SmallInteger, "0"),
    Column("trouble", Text),  # JSON of a Trouble; NULL: none
    Column("placement", Text),  # JSON of a Placement; NULL: to be decided
    _column("route", Text, ""),  # a next hop that an operator gave it
    Index("queue_message", "message_id"),
    Index("queue_ready", "ready"),
    Index("queue_site", "site", "ready"),
)
# Only rows in somebody's hands, and those that are held: small whatever waits, so that neither is looked for among all.
Index("queue_owner", queue.c.owner, sqlite_where=queue.c.owner != "", postgresql_where=queue.c.owner != "")
Index("queue_hold", queue.c.hold, sqlite_where=queue.c.hold != "", postgresql_where=queue.c.hold != "")

# ---- what plugins and operators see

outbox = _table(
    "outbox",
    _id(),
    _column("hook", Text),
    _column("payload", Text),
    _column("attempts", Integer, "0"),
    Column("ready", Double),  # NULL: buried
    _column("owner", Text, ""),
    _column("error", Text, ""),
    _column("plugin", Text, ""),  # the one that is still to be told; "": all
    _column("made", Double, "0"),
    Index("outbox_ready", "ready"),
)
traces = _plain(
    "traces",
    _id(),
    Column("queue_id", Text, nullable=False, unique=True),
    _column("made", Double),
    _column("origin", Text),
    _column("sender", Text),
    _column("recipients", Text),
    _column("message_id", Text),
    _column("size", BigInteger),
    _column("client", Text),
    _column("login", Text),
    _column("steps", Text),
    Index("traces_made", "made"),
)
trace_steps = _plain("trace_steps", _id(), _column("queue_id", Text), _column("step", Text), Index("trace_steps_queue", "queue_id"))
refusals = _table(
    "refusals",
    _id(),
    _column("queue_id", Text),
    _column("made", Double),
    _column("last", Double),
    _column("count", BigInteger),
    _column("state", Text),
    _column("stage", Text),
    _column("origin", Text),
    _column("sender", Text),
    _column("recipients", Text),
    _column("message_id", Text),
    _column("size", BigInteger),
    _column("client", Text),
    _column("login", Text),
    _column("reply", Text),
    _column("steps", Text),
    Index("refusals_made", "made"),
)
trace_terms = _clustered(  # what traces (kind 0) and refusals (kind 1) are found by
    "trace_terms",
    _column("term", Text),
    _column("kind", SmallInteger),
    _column("row_id", BigInteger),
    PrimaryKeyConstraint("term", "kind", "row_id"),
)
key_values = _clustered(
    "key_values",
    _column("plugin", Text),
    _column("name", Text),
    _column("value", LargeBinary),
    Column("expires", Double),
    PrimaryKeyConstraint("plugin", "name"),
    Index("key_values_expires", "expires"),
)


def statements(dialect: DialectName) -> list[str]:
    """The DDL that makes an empty database of the current version."""
    target = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    out = []
    for table in metadata.sorted_tables:
        out.append(str(CreateTable(table).compile(dialect=target)))
        out += [str(CreateIndex(index).compile(dialect=target)) for index in sorted(table.indexes, key=lambda i: i.name or "")]
    if dialect == "postgresql":  # message bodies are read in pieces and rarely compress: no TOAST compression
        out.append("ALTER TABLE mailboxes SET (fillfactor = 50)")  # a row changes with every message: room to do so in its page
        out.append("ALTER TABLE blobs ALTER COLUMN body SET STORAGE EXTERNAL")
    return out
