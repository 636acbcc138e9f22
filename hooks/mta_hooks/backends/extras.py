"""What a store may offer beyond ``MailStore``: quotas with messages, access lists, annotations, undelete.

A store that has one of these has an attribute of that name; what is absent is withheld from IMAP clients and commands alike.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mta.model.ids import MailboxId, UserId
from mta.model.mailbox import MailboxInfo
from mta.model.quota import Usage
from mta.model.restoring import Restoration


class Quotas(Protocol):
    """Limits of octets are the directory's (``Directory.set_quota``)."""

    async def usage(self, user: UserId) -> Usage:
        """Raises NoSuchUser."""
        ...

    async def set_message_limit(self, user: UserId, messages: int) -> None:
        """0: none. Raises NoSuchUser. A change that would exceed it raises OverQuota from then on."""
        ...


@dataclass(frozen=True, slots=True)
class Shared:
    """A mailbox of somebody else, with the whole of its list: ``mta.model.rights.effective`` says what it gives."""

    owner: str
    mailbox: MailboxInfo
    entries: Mapping[str, str]


class Sharing(Protocol):
    """Access lists. The owner has every right and stands in no list. A mailbox made below another begins with that one's list."""

    async def account(self, address: str) -> tuple[UserId, str] | None:
        """Whose mailboxes are named by this address, and its own spelling."""
        ...

    async def entries(self, mailbox: MailboxId) -> Mapping[str, str]:
        """Rights by identifier. Empty for a mailbox that is gone."""
        ...

    async def set_entry(self, mailbox: MailboxId, identifier: str, rights: str) -> None:
        """Put or, with no rights, remove one. Sessions that have the mailbox open are woken. Raises NoSuchMailbox."""
        ...

    async def shared_with(self, identifiers: Sequence[str], *, but: UserId) -> list[Shared]:
        """All mailboxes of other accounts than ``but`` in whose lists one of these stands, by owner and name."""
        ...


class Annotations(Protocol):
    """Values of RFC 5464. ``mailbox`` None is the server; ``user`` None is what everybody shares (/shared), else whose (/private)."""

    async def annotations(self, mailbox: MailboxId | None, user: UserId | None) -> Mapping[str, bytes]:
        """All of them: entry → value, entries in lower case without /shared or /private."""
        ...

    async def annotate(
        self, mailbox: MailboxId | None, user: UserId | None, values: Mapping[str, bytes | None], *, most: int
    ) -> bool:
        """Set and remove (None), all or none. False: there would be more than ``most``. Raises NoSuchMailbox."""
        ...


class Undelete(Protocol):
    async def restore(
        self, user: UserId, *, at: float | None = None, folder: str | None = None, dry_run: bool = False
    ) -> list[Restoration]:
        """Bring back what was expunged and is still kept, and folders that were deleted, with their special use and subscription.

        at       None: all of it. Else wall clock: what was there at that moment, with the flags it had then, folders with their names
                 and subscriptions of then; what came since stays
        folder   this one only
        dry_run  change nothing, say what would be

        Messages come back in the folder where they lay, with new uids, their flags without \\Deleted, their dates. What still lies in
        another folder of the account is left there. Raises NoSuchUser, NoSuchMailbox when nothing is known of ``folder``, OverQuota.
        """
        ...


@dataclass(frozen=True, slots=True)
class Extras:
    """What one store has of these."""

    quotas: Quotas | None
    sharing: Sharing | None
    annotations: Annotations | None
    undelete: Undelete | None


def extras_of(store: Any) -> Extras:
    return Extras(*(getattr(store, name, None) for name in ("quotas", "sharing", "annotations", "undelete")))
