"""SQLAlchemy over a connection of ours, whose transactions stay ours: for migrations, and for the statements of plugins.

The hot paths of this plugin write their SQL themselves (dialect.py); nothing here is imported for them.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING, Any

from mta_sql.dialect import Connection

if TYPE_CHECKING:
    import sqlalchemy as sa


def over(connection: Connection) -> "sa.Connection":
    """The same for each call with the same connection. It begins and ends nothing."""
    if connection.alchemy is None:
        connection.alchemy = _made(connection)
    made: sa.Connection = connection.alchemy
    return made


def _made(connection: Connection) -> "sa.Connection":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    url = "sqlite://" if connection.dialect == "sqlite" else "postgresql+psycopg://"
    raw: Any = connection.raw
    engine = create_engine(url, creator=lambda: raw, poolclass=StaticPool)
    for ending in ("do_commit", "do_rollback", "do_close", "do_terminate"):
        setattr(engine.dialect, ending, lambda _connection: None)
    return engine.connect()


def execute(alchemy: "sa.Connection", statement: "sa.Executable") -> Any:
    """Return the result. Raises the driver's errors as the driver raised them, which is how our callers know them."""
    from sqlalchemy.exc import DBAPIError

    try:
        return alchemy.execute(statement, execution_options={"preserve_rowcount": True})
    except DBAPIError as exc:
        raise exc.orig or exc from exc
