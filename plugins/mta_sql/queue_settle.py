"""Results of delivery, written with everything that follows from them.

A row is the right to deliver: whoever removes it delivers, in the same transaction. A row that is gone, or whose attempt was
counted by somebody else since it was leased, changes nothing; when none of the outcomes changed anything, their submissions are
not made either. That is what makes a settle repeated after an unknown commit, or by two holders of one lease, harmless.
"""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.delivery import Outcome, Trouble
from mta.model.message import Intake
from mta_sql.core import Body, Core, loosen
from mta_sql.events import notify
from mta_sql.placing import place
from mta_sql.spool import take
from mta_sql.text import clean, to_json
from mta_sql.transaction import Transaction

_REMOVE = "DELETE FROM queue WHERE id = ? RETURNING message_id"
_REMOVE_MANY = "DELETE FROM queue WHERE id IN ARRAY ? RETURNING id, message_id"
_DEFER = (
    "UPDATE queue SET due = ?, ready = CASE WHEN hold = '' THEN ? END, owner = '', attempts = attempts + ?, last_reply = ?, warned = ?,"
    " trouble = ? WHERE id = ? AND attempts = ?"
)
_HOLD = (
    "UPDATE queue SET hold = ?, ready = NULL, owner = '', attempts = attempts + ?, last_reply = ?, warned = ?, trouble = ?"
    " WHERE id = ? AND attempts = ?"
)
_BLAME = "UPDATE queue SET trouble = ? WHERE id = ?"
_BLAME_HOLD = "UPDATE queue SET trouble = ?, hold = ?, last_reply = ?, ready = NULL, owner = '' WHERE id = ?"
_STEP_OF_ROW = "INSERT INTO trace_steps (queue_id, step) SELECT m.queue_id, ? FROM queue q JOIN queue_messages m ON m.id = q.message_id WHERE q.id = ?"
_REMOVE_MESSAGES = "DELETE FROM queue_messages WHERE id IN ARRAY ? AND NOT EXISTS (SELECT 1 FROM queue WHERE message_id = queue_messages.id) RETURNING blob_id"
_STEP = "INSERT INTO trace_steps (queue_id, step) VALUES (?, ?)"


def settle(tx: Transaction, core: Core, outcomes: Sequence[Outcome], submissions: Sequence[tuple[Intake, Body]]) -> None:
    """Raises OverQuota or NoSuchUser when a delivery cannot be made: then nothing is written."""
    going: dict[int, Outcome] = {}
    changed: list[Outcome] = []
    for outcome in outcomes:
        if outcome.delivery is None and outcome.result not in ("deferred", "held"):
            going[outcome.leased.row] = outcome
        elif _apply(tx, core, outcome):
            changed.append(outcome)
    if going:
        changed += _remove(tx, going)
    if changed:
        now = time.time()
        tx.executemany(_STEP, [(o.leased.message.id, to_json(step)) for o in changed for step in _steps(o, now)])
        for outcome in changed:
            if outcome.notifications:
                notify(tx, core, outcome.notifications)
    if changed or not outcomes:
        for intake, body in submissions:
            take(tx, core, intake, body)


def _remove(tx: Transaction, going: Mapping[int, Outcome]) -> list[Outcome]:
    """Rows that have nothing to do but go: all in one statement. Return the outcomes of those that were there."""
    removed: dict[int, int] = dict(tx.execute(_REMOVE_MANY, (tx.array(going),)).fetchall())
    remove_messages(tx, list(dict.fromkeys(removed.values())))
    return [outcome for row, outcome in going.items() if row in removed]


def _apply(tx: Transaction, core: Core, outcome: Outcome) -> bool:
    leased = outcome.leased
    reply = clean(outcome.reply)[:1000]
    trouble = None if outcome.trouble is None else trouble_json(outcome.trouble)
    counts = (int(outcome.attempted), reply, int(outcome.warned or leased.delay_warned), trouble, leased.row, leased.attempts)
    if outcome.result == "deferred":
        tx.effects.queued = True
        return tx.execute(_DEFER, (outcome.due, outcome.due, *counts)).rowcount > 0
    if outcome.result == "held":
        return tx.execute(_HOLD, (reply or "held", *counts)).rowcount > 0
    row: Any = tx.one(_REMOVE, (leased.row,))
    if row is None:
        return False
    if outcome.delivery is not None and outcome.result == "delivered":
        message = leased.message
        place(tx, core, (outcome.delivery,), message.blob, message.size, int(message.received_at), message.message_id, message.id)
    remove_messages(tx, (row[0],))  # after the mailbox holds the octets
    return True


def blame(tx: Transaction, row: int, trouble: Trouble, hold: str) -> None:
    """The worker died of a hook that it called for this row."""
    if not hold:
        tx.execute(_BLAME, (trouble_json(trouble), row))
        return
    reason = clean(hold)[:1000]
    if tx.execute(_BLAME_HOLD, (trouble_json(trouble), reason, reason, row)).rowcount:
        step = {"at": time.time(), "stage": "delivery", "result": "held", "reply": reason}
        tx.execute(_STEP_OF_ROW, (to_json(step), row))


def trouble_json(trouble: Trouble) -> str:
    """For ``to_trouble``."""
    fields = dataclasses.asdict(trouble).items()
    return to_json({name: clean(value) if isinstance(value, str) else value for name, value in fields})


def remove_messages(tx: Transaction, messages: Sequence[int]) -> None:
    """Remove those that have no recipient left."""
    loosen(tx, [row[0] for row in tx.execute(_REMOVE_MESSAGES, (tx.array(messages),)).fetchall()] if messages else ())


def _steps(outcome: Outcome, now: float) -> list[dict[str, Any]]:
    said = [{"at": now, **step} for step in outcome.steps]
    return said if outcome.result == "deferred" and not outcome.attempted else [*said, _step(outcome, now)]


def _step(outcome: Outcome, now: float) -> dict[str, Any]:
    step = {"at": now, "stage": "delivery", "recipient": str(outcome.leased.address), "result": outcome.result}
    if outcome.reply:
        step["reply"] = outcome.reply[:1000]
    if outcome.remote:
        step["remote"] = outcome.remote
    if outcome.trouble is not None and outcome.trouble.times:
        step |= {"plugin": outcome.trouble.plugin, "hook": outcome.trouble.hook, "error": clean(outcome.trouble.error)}
    return step
