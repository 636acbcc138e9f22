"""An operator changes who gets a queued message."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Sequence
from typing import Any

from mta.model.ids import QueueId
from mta.model.message import QueuedRecipient
from mta_sql.queue_settle import remove_messages
from mta_sql.spool import INSERT_RECIPIENT, recipient_row
from mta_sql.text import to_json
from mta_sql.transaction import Transaction

_MESSAGE = "SELECT id FROM queue_messages WHERE queue_id = ? FOR UPDATE"
_ROWS = "SELECT id, local, domain, user_id FROM queue WHERE message_id = ? AND NOT (owner <> '' AND (ready IS NULL OR ready > ?)) FOR UPDATE"
_EVERY = "SELECT local, domain, user_id FROM queue WHERE message_id = ?"
_REMOVE = "DELETE FROM queue WHERE id IN ARRAY ?"
_STEP = "INSERT INTO trace_steps (queue_id, step) VALUES (?, ?)"


def edit(tx: Transaction, id: QueueId, remove: Sequence[int], add: Sequence[QueuedRecipient], now: float) -> bool:
    """See ``mta_hooks.backends.queue.Queue.edit``."""
    message: Any = tx.one(_MESSAGE, (id,))
    if message is None:
        return False
    free = {row[0]: row[1:] for row in tx.execute(_ROWS, (message[0], now)).fetchall()}
    if not all(row in free for row in remove):
        return False
    removed = [f"{free[row][0]}@{free[row][1]}" for row in remove]
    tx.execute(_REMOVE, (tx.array(remove),))
    there = {(row[0], row[1], row[2]) for row in tx.execute(_EVERY, (message[0],)).fetchall()}
    new = [one for one in add if (one.address.local, one.address.domain, one.user) not in there]
    tx.executemany(INSERT_RECIPIENT, [recipient_row(message[0], one, now) for one in new])
    step: dict[str, Any] = {"at": time.time(), "stage": "operator", "result": "edited"}
    step |= {"removed": removed} if removed else {}
    step |= {"added": [str(one.address) for one in new]} if new else {}
    tx.execute(_STEP, (id, to_json(step)))
    tx.effects.queued |= bool(new)
    remove_messages(tx, [message[0]])
    return True
