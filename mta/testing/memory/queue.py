"""``Queue`` and ``Spool`` in memory."""
# SPDX-License-Identifier: Apache-2.0

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from mta.model.delivery import ERROR_HOLD, QUARANTINE, RESOLVE, Leased, Outcome, QueuedMessage, QueueRow, State, Trouble
from mta.model.errors import NoSuchUser, TemporaryFailure
from mta.model.ids import BlobId, QueueId, UserId
from mta.model.message import Intake, LocalDelivery, QueuedRecipient, first_due
from mta.testing.memory.data import Change, Data, Queued
from mta_hooks.backends.database import DatabaseOptions, TraceRecord
from mta_hooks.backends.queue import LEASE, SHAPE_AGES, QueueFilter, Shape


def _room(data: Data, parts: Iterable[tuple[Iterable[LocalDelivery], int]]) -> None:
    more: Counter[UserId] = Counter()
    for deliveries, size in parts:
        for delivery in deliveries:
            more[delivery.user] += size * data.folders(delivery)
    data.check_room(more)


def take(data: Data, change: Change, intake: Intake) -> None:
    """Checked before; an id that was taken before changes nothing."""
    if intake.id in data.traces:
        return
    sender = "" if intake.sender is None else str(intake.sender)
    record = TraceRecord(
        intake.id,
        intake.received_at,
        intake.origin,
        sender,
        intake.message_id,
        intake.content.size,
        intake.client,
        intake.user,
        list(intake.trace),
        tuple([str(d.recipient).lower() for d in intake.deliveries] + [str(q.address).lower() for q in intake.queued]),
    )
    data.traces[intake.id] = record
    blob = data.new_blob(intake.content.raw())
    data.place(change, intake.deliveries, blob, int(intake.received_at), intake.message_id, intake.id)
    message = QueuedMessage(
        id=intake.id,
        origin=intake.origin,
        sender=intake.sender,
        blob=blob,
        size=intake.content.size,
        skip=intake.skip,
        received_at=intake.received_at,
        envid=intake.envid,
        ret=intake.ret,
        smtputf8=intake.smtputf8,
        eightbit=intake.eightbit,
        message_id=intake.message_id,
        user=intake.user,
        priority=intake.priority,
        deliver_by=intake.deliver_by,
        by_mode=intake.by_mode,
        requiretls=intake.requiretls,
    )
    for recipient in intake.queued:
        row = data.next()
        data.queue[row] = Queued(row, message, recipient, first_due(intake, recipient), hold=recipient.hold, route=recipient.route)
        change.queued = True
    for notification in intake.notifications:
        change.note(notification.hook, notification.payload)


class MemorySpool:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data = data
        self._options = options

    async def accept(self, intake: Intake) -> None:
        if self._options.read_only:
            raise TemporaryFailure("the database is open for reading only")
        if intake.id in self._data.traces:
            return
        try:
            _room(self._data, [(intake.deliveries, intake.content.size)])
        except NoSuchUser as exc:
            raise TemporaryFailure(str(exc)) from exc
        with Change(self._data, self._options) as change:
            take(self._data, change, intake)


class MemoryQueue:
    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self._data = data
        self._options = options

    async def lease(
        self, owner: str, limit: int, seconds: float, *, now: float, exclude: Collection[str] = (), sites: Collection[str] = ()
    ) -> list[Leased]:
        due = [
            q
            for q in self._data.queue.values()
            if q.ready is not None and q.ready <= now and q.site not in exclude and (not sites or q.site in sites)
        ]
        due.sort(key=lambda q: (q.ready or 0.0, q.row))
        for queued in due[:limit]:
            queued.owner, queued.until = owner, now + seconds
        return [_leased(queued) for queued in due[:limit]]

    async def reclaim(self, owner: str) -> int:
        found = [q for q in self._data.queue.values() if q.owner == owner]
        with Change(self._data, self._options) as change:
            for queued in found:
                queued.owner, queued.until = "", 0.0
                change.queued = True
        return len(found)

    async def settle(self, outcomes: Sequence[Outcome], submissions: Sequence[Intake] = ()) -> None:
        data = self._data
        delivered = {o.leased.row: o for o in outcomes if o.delivery is not None and o.result == "delivered"}
        parts = [((o.delivery,), o.leased.message.size) for row, o in delivered.items() if o.delivery and row in data.queue]
        new = [(intake.deliveries, intake.content.size) for intake in submissions if intake.id not in data.traces]
        _room(data, [*parts, *new])
        with Change(data, self._options) as change:
            changed = [outcome for outcome in outcomes if self._apply(change, outcome)]
            if changed or not outcomes:
                for intake in submissions:
                    take(data, change, intake)

    def _apply(self, change: Change, outcome: Outcome) -> bool:
        data, leased = self._data, outcome.leased
        queued = data.queue.get(leased.row)
        if queued is None:
            return False
        if outcome.result in ("deferred", "held"):
            if queued.attempts != leased.attempts:
                return False
            queued.attempts += outcome.attempted
            queued.owner, queued.until, queued.last_reply = "", 0.0, outcome.reply[:1000]
            queued.warned = outcome.warned or leased.delay_warned
            queued.trouble = outcome.trouble
            if outcome.result == "held":
                queued.hold = outcome.reply[:1000] or "held"
            else:
                queued.due = outcome.due
                change.queued = True
        else:
            del data.queue[leased.row]
            if outcome.delivery is not None and outcome.result == "delivered":
                message = leased.message
                date = int(message.received_at)
                data.place(change, (outcome.delivery,), message.blob, date, message.message_id, message.id)
        for said in outcome.steps:
            self._step(leased.message.id, {"at": time.time(), **said})
        step = {"at": time.time(), "stage": "delivery", "recipient": str(leased.address), "result": outcome.result}
        more = {"reply": outcome.reply[:1000], "remote": outcome.remote}
        if outcome.attempted or outcome.result != "deferred":
            self._step(leased.message.id, step | {key: value for key, value in more.items() if value})
        for notification in outcome.notifications:
            change.note(notification.hook, notification.payload)
        return True

    def _step(self, queue_id: str, step: Mapping[str, object]) -> None:
        if trace := self._data.traces.get(queue_id):
            trace.steps.append(step)

    async def blame(self, row: int, trouble: Trouble, hold: str = "") -> None:
        if (queued := self._data.queue.get(row)) is not None:
            queued.trouble = trouble
            if hold:
                queued.hold = queued.last_reply = hold[:1000]
                queued.owner = ""
                self._step(queued.message.id, {"at": time.time(), "stage": "delivery", "result": "held", "reply": hold[:1000]})

    async def next_due(self, *, now: float) -> float | None:
        return min((q.ready for q in self._data.queue.values() if q.ready is not None), default=None)

    async def content(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        return self._data.blobs[blob][start : None if length is None else start + length]

    async def count(self, wanted: QueueFilter | None = None, *, now: float = 0.0) -> int:
        return len(self._data.queue) if wanted is None else len(self._matching(wanted, now))

    async def list(self, wanted: QueueFilter, *, limit: int = 1000, now: float, after: int = 0) -> list[QueueRow]:
        return [_listed(queued, now) for queued in self._matching(wanted, now) if queued.row > after][:limit]

    def _matching(self, wanted: QueueFilter, now: float) -> Sequence[Queued]:
        return [queued for queued in self._data.queue.values() if _matches(wanted, _listed(queued, now))]

    async def flush(self, wanted: QueueFilter, *, now: float) -> int:
        found = [q for q in self._matching(wanted, now) if _listed(q, now).state in ("due", "waiting")]
        return self._make_due(found, now)

    def _make_due(self, found: Sequence[Queued], now: float) -> int:
        with Change(self._data, self._options) as change:
            for queued in found:
                queued.due, queued.hold, queued.owner, queued.until = now, "", "", 0.0
                change.queued = True
        return len(found)

    async def hold(self, wanted: QueueFilter, reason: str) -> int:
        found = [q for q in self._matching(wanted, time.time()) if not q.hold]
        for queued in found:
            queued.hold = reason or "held"
        self._operator(found, "held", {"reason": reason} if reason else {})
        return len(found)

    async def release(self, wanted: QueueFilter, *, now: float) -> int:
        found = [q for q in self._matching(wanted, now) if q.hold]
        self._operator(found, "released", {})
        with Change(self._data, self._options) as change:
            for queued in found:
                queued.due, queued.hold, queued.trouble = now, "", None
                queued.until = now + LEASE if queued.owner else 0.0
                change.queued = True
        return len(found)

    async def reroute(self, wanted: QueueFilter, route: str, *, now: float) -> int:
        found = [q for q in self._matching(wanted, now) if _listed(q, now).state != "leased"]
        found = [q for q in found if q.recipient.transport == "remote" or route == RESOLVE]
        with Change(self._data, self._options) as change:
            for queued in found:
                queued.route, queued.due = route, now
                change.queued = True
        self._operator(found, "rerouted", {"route": route} if route else {})
        return len(found)

    async def edit(self, id: QueueId, *, remove: Sequence[int] = (), add: Sequence[QueuedRecipient] = (), now: float) -> bool:
        rows = [queued for queued in self._data.queue.values() if queued.message.id == id]
        free = {q.row for q in rows if not (q.owner and (q.hold or q.until > now))}
        if not rows or not free.issuperset(remove):
            return False
        message, gone = rows[0].message, [str(self._data.queue.pop(row).recipient.address) for row in remove]
        there = {(q.recipient.address, q.recipient.user) for q in rows if q.row not in remove}
        new = [one for one in add if (one.address, one.user) not in there]
        with Change(self._data, self._options) as change:
            for recipient in new:
                row = self._data.next()
                self._data.queue[row] = Queued(row, message, recipient, now, hold=recipient.hold, route=recipient.route)
                change.queued = True
        step = {"at": time.time(), "stage": "operator", "result": "edited"}
        self._step(
            id, {**step, **({"removed": gone} if gone else {}), **({"added": [str(one.address) for one in new]} if new else {})}
        )
        return True

    async def delete(self, wanted: QueueFilter) -> int:
        found = self._matching(wanted, time.time())
        for queued in found:
            del self._data.queue[queued.row]
        self._operator(found, "deleted", {})
        return len(found)

    def _operator(self, found: Sequence[Queued], result: str, more: Mapping[str, str]) -> None:
        messages: dict[QueueId, list[str]] = {}
        for queued in found:
            messages.setdefault(queued.message.id, []).append(str(queued.recipient.address))
        for queue_id, who in messages.items():
            self._step(queue_id, {"at": time.time(), "stage": "operator", "result": result, **more, "recipients": who})

    async def stats(self, *, now: float) -> Mapping[str, int]:
        states = Counter(_listed(queued, now).state for queued in self._data.queue.values())
        held = states["held"] + states["error"] + states["quarantine"]
        free = {state: states[state] for state in ("due", "waiting", "leased")}
        of = {"error": states["error"], "quarantine": states["quarantine"]}
        return {"total": len(self._data.queue), **free, "held": held, **of}

    async def shape(self, *, now: float, limit: int = 100) -> Sequence[Shape]:
        found: dict[str, Counter[int]] = {}
        for queued in self._data.queue.values():
            age = now - queued.message.received_at
            found.setdefault(queued.site, Counter())[bisect_right(SHAPE_AGES, age)] += 1
        counted = [Shape(site, ages.total(), tuple(ages[n] for n in range(len(SHAPE_AGES) + 1))) for site, ages in found.items()]
        return sorted(counted, key=lambda one: (-one.total, one.site))[:limit]


def _leased(queued: Queued) -> Leased:
    recipient = queued.recipient
    return Leased(
        row=queued.row,
        message=queued.message,
        address=recipient.address,
        transport=recipient.transport,
        site=queued.site,
        user=recipient.user,
        orcpt=recipient.orcpt,
        notify=recipient.notify,
        attempts=queued.attempts,
        due=queued.due,
        last_reply=queued.last_reply,
        delay_warned=queued.warned,
        placement=recipient.placement,
        trouble=queued.trouble,
        route=queued.route,
    )


def _listed(queued: Queued, now: float) -> QueueRow:
    ready, message = queued.ready, queued.message
    free: State = "due" if ready is not None and ready <= now else "leased" if queued.owner else "waiting"
    kept: State = "error" if queued.hold.startswith(ERROR_HOLD) else "quarantine" if queued.hold.startswith(QUARANTINE) else "held"
    state = kept if ready is None else free
    return QueueRow(
        row=queued.row,
        id=message.id,
        sender="" if message.sender is None else str(message.sender),
        recipient=str(queued.recipient.address),
        state=state,
        attempts=queued.attempts,
        received_at=message.received_at,
        due=queued.due,
        size=message.size,
        last_reply=queued.last_reply,
        hold=queued.hold,
        trouble=queued.trouble,
        origin=message.origin,
        user=message.user,
        priority=message.priority,
        route=queued.route,
        transport=queued.recipient.transport,
        orcpt=queued.recipient.orcpt,
        notify=tuple(sorted(queued.recipient.notify)),
    )


def _matches(wanted: QueueFilter, row: QueueRow) -> bool:
    text = wanted.text.lower()
    conditions = (
        (wanted.rows, row.row in wanted.rows),
        (wanted.ids, row.id in wanted.ids),
        (wanted.domain, row.recipient.rpartition("@")[2] == wanted.domain.lower()),
        (wanted.sender is not None, row.sender.lower() == (wanted.sender or "").lower()),
        (wanted.recipient, row.recipient.lower() == wanted.recipient.lower()),
        (text, any(text in value.lower() for value in (row.recipient, row.sender, row.last_reply))),
        (wanted.state, row.state == wanted.state),
        (wanted.plugin, row.trouble is not None and row.trouble.plugin == wanted.plugin),
        (wanted.hook, row.trouble is not None and row.trouble.hook == wanted.hook),
        (wanted.older_than is not None, row.received_at < (wanted.older_than or 0.0)),
    )
    given = [holds for condition, holds in conditions if condition]
    return all(given) if given else wanted.everything
