"""Copies of a whole database, made while it is used: what a backend may offer beyond ``Database``."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup did. ``copied`` and ``kept``: bodies that are files, new ones and those that an earlier backup had; ``removed``: those
    that nothing names any more; ``octets``: written. ``damage``: what a check of the copy found, None when it could not be checked."""

    copied: int
    kept: int
    removed: int
    octets: int
    damage: tuple[str, ...] | None


class BackedUp(Protocol):
    """A database with these methods is backed up by ``mta backup``."""

    async def back_up(self, folder: str, progress: Progress, *, check: bool) -> Copied:
        """Write one moment of the database into ``folder``, which is there: empty, or with an earlier backup, which holds until this one
        is complete and is then replaced. Of an open database, opened for reading only. Raises MailError with what to do."""
        ...

    async def is_in_use(self) -> bool:
        """Whether there is data where ``restore`` would write. Of a database that is not open."""
        ...

    async def restore(self, folder: str, *, aside: str, progress: Progress) -> None:
        """Put what ``back_up`` wrote where this database lives; nobody has it open. What was there goes into the folder ``aside``, made for
        it. Bodies are checked to be there first. Raises MailError."""
        ...


def backed_up(database: Any) -> BackedUp | None:
    """The database as one that can be backed up, if it can."""
    return database if all(hasattr(database, name) for name in ("back_up", "is_in_use", "restore")) else None
