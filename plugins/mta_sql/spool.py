"""The one door through which mail becomes ours.

``take`` is the hot path: for a message to one mailbox four statements (trace, body, mailbox, row). The trace comes first, since
its unique id is what makes a second acceptance change nothing: a client that repeats a message after an unknown outcome, a
maildrop file read twice, a settle run again.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable
from typing import Any

from mta.model.errors import NoSuchUser, TemporaryFailure
from mta.model.message import Intake, LocalDelivery, QueuedRecipient, first_due
from mta_sql.core import Body, Core, insert_blob, loosen
from mta_sql.events import notify
from mta_sql.placing import place
from mta_sql.text import clean, from_placement, to_json
from mta_sql.transaction import Transaction

_TRACE = (
    "INSERT INTO traces (queue_id, made, origin, sender, recipients, message_id, size, client, login, steps)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (queue_id) DO NOTHING"
)
_MESSAGE = (
    "INSERT INTO queue_messages (queue_id, origin, sender, blob_id, size, skip, received_at, envid, ret, smtputf8, eightbit, message_id, login,"
    " priority, deliver_by, by_mode, requiretls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
INSERT_RECIPIENT = (
    "INSERT INTO queue (message_id, local, domain, transport, site, user_id, orcpt, notify, due, hold, ready, placement, route)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class SqlSpool:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def accept(self, intake: Intake) -> None:
        core = self._core
        body = await core.body(intake.content)

        def run(tx: Transaction) -> None:
            try:
                take(tx, core, intake, body)
            except NoSuchUser as exc:  # deleted since RCPT: the peer asks again and is told so
                raise TemporaryFailure(str(exc)) from exc

        await core.write(run, mailboxes_of(core, intake.deliveries))


def mailboxes_of(core: Core, deliveries: Iterable[LocalDelivery]) -> list[int]:
    """Those that will change, as far as this process has seen them."""
    known = core.inboxes.get
    found = [known((int(d.user), d.placement.folder)) for d in deliveries]
    return [mailbox for mailbox in found if mailbox is not None]


def take(tx: Transaction, core: Core, intake: Intake, body: Body) -> bool:
    """Write one message; False when its id was taken before. Raises OverQuota, NoSuchUser."""
    queue_id, sender, deliveries, queued = intake.id, intake.sender, intake.deliveries, intake.queued
    message_id = clean(intake.message_id)
    client, login = clean(intake.client), clean(intake.user)
    recipients = "\n".join(["", *[str(d.recipient) for d in deliveries], *[str(q.address) for q in queued], ""]).lower()
    trace = (
        queue_id,
        intake.received_at,
        intake.origin,
        "" if sender is None else clean(str(sender)),
        clean(recipients),
        message_id,
        body.size,
        client,
        login,
        to_json(intake.trace) if intake.trace else "[]",
    )
    if tx.execute(_TRACE, trace).rowcount == 0:
        return False
    placed = 0
    blob = insert_blob(tx, body)
    if deliveries:
        placed = place(tx, core, deliveries, blob, body.size, int(intake.received_at), message_id, queue_id)
    if queued:
        _queue(tx, intake, blob, body.size, message_id, login)
    elif not placed:  # every hook said drop: the trace stays, the octets go
        loosen(tx, (blob,))
    if intake.notifications:
        notify(tx, core, intake.notifications)
    return True


def _queue(tx: Transaction, intake: Intake, blob: int, size: int, message_id: str, login: str) -> None:
    row: Any = tx.execute(
        _MESSAGE,
        (
            intake.id,
            intake.origin,
            None if intake.sender is None else clean(str(intake.sender)),
            blob,
            size,
            intake.skip,
            intake.received_at,
            None if intake.envid is None else clean(intake.envid),
            intake.ret,
            int(intake.smtputf8),
            int(intake.eightbit),
            message_id,
            login,
            intake.priority,
            intake.deliver_by,
            intake.by_mode,
            int(intake.requiretls),
        ),
    ).fetchone()
    tx.executemany(INSERT_RECIPIENT, [recipient_row(row[0], one, first_due(intake, one)) for one in intake.queued])
    tx.effects.queued = True


def recipient_row(message: int, recipient: QueuedRecipient, due: float) -> tuple[Any, ...]:
    """The values of ``INSERT_RECIPIENT``."""
    address = recipient.address
    return (
        message,
        clean(address.local),
        clean(address.domain),
        recipient.transport,
        "local" if recipient.transport == "local" else clean(address.domain),
        recipient.user,
        None if recipient.orcpt is None else clean(recipient.orcpt),
        " ".join(sorted(recipient.notify)),
        due,
        clean(recipient.hold),
        None if recipient.hold else due,
        from_placement(recipient.placement),
        clean(recipient.route),
    )
