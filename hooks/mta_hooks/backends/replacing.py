"""REPLACE (RFC 8508) as one change: what a store may offer beyond ``MailStore``. One without this method has it withheld from IMAP clients."""
# SPDX-License-Identifier: Apache-2.0

from typing import Protocol

from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Appended, NewMessage


class Replacing(Protocol):
    async def replace(self, mailbox: MailboxId, uid: Uid, target: MailboxId, message: NewMessage) -> tuple[Appended, ModSeq] | None:
        """Put ``message`` into ``target`` and remove ``uid`` from ``mailbox``, which may be the same: both or neither.

        Returns where it is, and the modseq of the removal; None when ``uid`` is not there, and then nothing is done. What is replaced
        does not count against the quota. Raises OverQuota.
        """
        ...
