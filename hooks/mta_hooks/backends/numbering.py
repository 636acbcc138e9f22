"""Message numbers without the mailbox: what a store may offer beyond ``MailStore``. For one without this method all rows are read."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Protocol

from mta.model.ids import MailboxId, ModSeq, Uid


class Numbering(Protocol):
    async def numbers(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[ModSeq, list[int]]:
        """The mailbox's highest modseq, and the numbers that these messages have as of then; those that are not there are left out.

        uids  at least one, ascending, at most some thousand
        """
        ...
