"""When messages came into the mailbox where they are (RFC 8514): what a store may know beyond ``MailStore``.

A store that knows has an attribute ``save_dates``. Likewise, one whose blobs keep their ids in COPY and MOVE, and its mailboxes in RENAME, has
``stable_ids = True`` (RFC 8474). What is absent is withheld from IMAP clients.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from typing import Protocol

from mta.model.ids import MailboxId, Uid


class SaveDates(Protocol):
    async def saved(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """Wall-clock seconds UTC at which each was put there by delivery, APPEND, COPY or MOVE; without those that are gone."""
        ...
