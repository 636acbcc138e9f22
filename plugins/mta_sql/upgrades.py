"""The steps from one schema version to the next, in words of their own: ``schema.py`` goes on, a step stays as it was released."""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.operations import Operations


def refusals_and_terms(operations: "Operations") -> None:
    """1 to 2: what was refused is remembered, and traces are found by index."""
    from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, SmallInteger, Text

    def column(name: str, kind: Any) -> "Column[Any]":
        return Column(name, kind, nullable=False)

    operations.create_table(
        "refusals",
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        column("queue_id", Text),
        column("made", Double),
        column("last", Double),
        column("count", BigInteger),
        *(column(name, Text) for name in ("state", "stage", "origin", "sender", "recipients", "message_id")),
        column("size", BigInteger),
        *(column(name, Text) for name in ("client", "login", "reply", "steps")),
        sqlite_autoincrement=True,
    )
    operations.create_index("refusals_made", "refusals", ["made"])
    operations.create_table(
        "trace_terms",
        column("term", Text),
        column("kind", SmallInteger),
        column("row_id", BigInteger),
        PrimaryKeyConstraint("term", "kind", "row_id"),
        sqlite_with_rowid=False,
    )


def troubles(operations: "Operations") -> None:
    """2 to 3: what plugins did to queue rows, and rows of the outbox for one plugin."""
    from sqlalchemy import Column, Double, Text

    operations.add_column("queue", Column("trouble", Text))
    operations.add_column("outbox", Column("plugin", Text, nullable=False, server_default=""))
    operations.add_column("outbox", Column("made", Double, nullable=False, server_default="0"))


def scram_keys(operations: "Operations") -> None:
    """3 to 4: keys of SCRAM beside the password hash."""
    from sqlalchemy import Column, Text

    operations.add_column("users", Column("scram", Text))


def placements(operations: "Operations") -> None:
    """4 to 5: local rows of a store apart from the database know where in the mailboxes they go."""
    from sqlalchemy import Column, Text

    operations.add_column("queue", Column("placement", Text))


def queue_at_a_million(operations: "Operations") -> None:
    """5 to 6: what is leased or held is found without looking at what waits; priorities, deadlines, next hops of operators."""
    from sqlalchemy import Column, Double, SmallInteger, Text, text

    operations.add_column("queue_messages", Column("priority", SmallInteger, nullable=False, server_default="0"))
    operations.add_column("queue_messages", Column("deliver_by", Double))
    operations.add_column("queue_messages", Column("by_mode", Text, nullable=False, server_default=""))
    operations.add_column("queue_messages", Column("requiretls", SmallInteger, nullable=False, server_default="0"))
    operations.add_column("queue", Column("route", Text, nullable=False, server_default=""))
    for name in ("owner", "hold"):
        some = text(f"{name} <> ''")
        operations.create_index(f"queue_{name}", "queue", [name], sqlite_where=some, postgresql_where=some)


def sharing(operations: "Operations") -> None:
    """6 to 7: access lists, annotations, quotas of messages, and flags as they were."""
    from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text

    def column(name: str, kind: Any) -> "Column[Any]":
        return Column(name, kind, nullable=False)

    operations.add_column("users", Column("quota_messages", BigInteger, nullable=False, server_default="0"))
    operations.create_table(
        "acl",
        column("mailbox_id", BigInteger),
        column("identifier", Text),
        column("rights", Text),
        PrimaryKeyConstraint("mailbox_id", "identifier"),
        sqlite_with_rowid=False,
    )
    operations.create_index("acl_identifier", "acl", ["identifier"])
    operations.create_table(
        "annotations",
        column("mailbox_id", BigInteger),
        column("user_id", BigInteger),
        column("entry", Text),
        column("value", LargeBinary),
        PrimaryKeyConstraint("mailbox_id", "user_id", "entry"),
        sqlite_with_rowid=False,
    )
    operations.create_table(
        "flag_changes",
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        column("mailbox_id", BigInteger),
        column("at", Double),
        column("flags", SmallInteger),
        column("keywords", Text),
        column("uids", Text),
    )
    operations.create_index("flag_changes_mailbox", "flag_changes", ["mailbox_id"])


def save_dates(operations: "Operations") -> None:
    """7 to 8: when a message came into the mailbox where it is. Of those that are there already nothing better than their date is known."""
    from sqlalchemy import BigInteger, Column

    operations.add_column("messages", Column("saved", BigInteger))


def undelete(operations: "Operations") -> None:
    """8 to 9: what is needed to say what a mailbox held at a moment. Nothing is known of what moved before."""
    from sqlalchemy import BigInteger, Column, SmallInteger

    operations.add_column("tombstones", Column("saved", BigInteger))
    operations.add_column("tombstones", Column("moved", SmallInteger, nullable=False, server_default="0"))
    operations.add_column("deleted_mailboxes", Column("user_id", BigInteger))


def app_passwords(operations: "Operations") -> None:
    """9 to 10: further passwords of accounts."""
    from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, Text

    operations.create_table(
        "app_passwords",
        Column("user_id", BigInteger, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("name", "tag", "password_hash", "scram", "services")),
        Column("made", Double, nullable=False),
        Column("used", Double),
        PrimaryKeyConstraint("user_id", "name"),
        sqlite_with_rowid=False,
    )


def files_of_blobs(operations: "Operations") -> None:
    """10 to 11: which bodies are files is known without reading those that are not."""
    from sqlalchemy import text

    some = text("file IS NOT NULL")
    operations.create_index("blobs_file", "blobs", ["file"], sqlite_where=some, postgresql_where=some)


def together(operations: "Operations") -> None:
    """11 to 12: ranges of messages that changed at one modseq."""
    from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint

    operations.create_table(
        "together",
        *(Column(name, BigInteger, nullable=False) for name in ("mailbox_id", "modseq", "first_uid", "last_uid")),
        PrimaryKeyConstraint("mailbox_id", "modseq"),
        sqlite_with_rowid=False,
    )


def folders(operations: "Operations") -> None:
    """12 to 13: names and subscriptions as they were."""
    from sqlalchemy import BigInteger, Column, Double, Integer, SmallInteger, Text

    operations.add_column("deleted_mailboxes", Column("special_use", Text, nullable=False, server_default=""))
    operations.add_column("deleted_mailboxes", Column("restored", SmallInteger, nullable=False, server_default="0"))
    operations.create_table(
        "folder_changes",
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        Column("user_id", BigInteger, nullable=False),
        Column("mailbox_id", BigInteger, nullable=False),
        Column("at", Double, nullable=False),
        Column("name", Text, nullable=False),
        Column("subscribed", SmallInteger, nullable=False),
    )
    operations.create_index("folder_changes_user", "folder_changes", ["user_id"])
