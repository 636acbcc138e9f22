"""REPLACE (RFC 8508): one transaction."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Appended, NewMessage
from mta_sql import store_write
from mta_sql.core import Body, Core
from mta_sql.transaction import Transaction

_LOCK_TWO = "SELECT id FROM mailboxes WHERE id IN ARRAY ? ORDER BY id FOR UPDATE"


def replace(
    tx: Transaction, core: Core, mailbox: MailboxId, uid: Uid, target: MailboxId, message: NewMessage, body: Body
) -> tuple[Appended, ModSeq] | None:
    """The old one goes first, so that the quota is asked about what is there afterwards."""
    tx.execute(_LOCK_TWO, (tx.array(sorted({mailbox, target})),)).fetchall()
    gone, modseq = store_write.remove(tx, core, mailbox, [uid], marked=False)
    if not gone:
        return None
    [appended] = store_write.append(tx, core, target, [message], [body])
    return appended, modseq
