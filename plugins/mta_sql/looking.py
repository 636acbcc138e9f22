"""The write side of a database that is only looked at: there is none."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Iterable, Sequence

from mta.model.errors import TemporaryFailure
from mta_sql.dialect import Connection
from mta_sql.transaction import Effects


class NoWriteSide:
    """See ``writer.WriteSide`` and ``tables.Alone``."""

    late = True

    def begin(self, mailboxes: Iterable[int]) -> Connection:
        raise TemporaryFailure("the database is open for reading only")

    def restart(self, mailboxes: Iterable[int]) -> Connection:
        raise TemporaryFailure("the database is open for reading only")

    def commit(self, effects: Effects) -> None: ...

    def abandon(self) -> None: ...

    def failure(self, exc: BaseException) -> Exception | None:
        return None

    def tidy(self) -> None: ...

    def close(self) -> None: ...

    def alone(self, keep: Callable[[Connection], None], work: Callable[[Connection], None]) -> None:
        raise TemporaryFailure("the database is open for reading only")

    def keep(self, connection: Connection, name: str, tables: Sequence[str]) -> None: ...
