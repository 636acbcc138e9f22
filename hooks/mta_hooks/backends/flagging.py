"""STORE by a caller that knows the mailbox: what a store may offer beyond ``MailStore``. One without this method gets ``set_flags``."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Protocol

from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Regrouped


class Flagging(Protocol):
    async def regroup(
        self, mailbox: MailboxId, known: ModSeq, groups: Sequence[Regrouped], span: tuple[Uid, Uid] | None
    ) -> ModSeq | None:
        """Give each group its flags: one change with one modseq, ``known`` + 1, which is returned.

        None, and nothing is done, when the mailbox is not at ``known`` any more: what the caller knows is no longer so. A store may say
        None for other reasons too; then it is asked by ``set_flags``. Nothing need be read to do it: the groups say what was there.

        groups  at least one; each message in one of them
        span    the groups hold every message from this uid to that one which has not the flags yet that ``regroup`` makes; None: they
                are some of them
        """
        ...
