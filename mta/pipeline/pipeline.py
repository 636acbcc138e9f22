"""From a finished transaction to the durable commit: the stages in their order, then the one door to the database.

No plugin for a stage: the stage costs one attribute test. Nothing here acknowledges: ``submit`` returns the reply, and a
positive one only after the commit. Order of the stored octets: Return-Path (only local readers see it, ``Intake.skip``),
signatures and other fields that hooks put on top, Delivered-To, Authentication-Results, Received, then the message as it came.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from mta.config.sections import Config
from mta.directory.posting import posted_to
from mta.directory.resolve import Resolution, Resolver
from mta.directory.senders import Senders
from mta.model.address import Address
from mta.model.delivery import DeliveryRecord
from mta.model.directory import HookTarget
from mta.model.errors import NoSuchUser, OverQuota, Refused, StorageDead, TemporaryFailure
from mta.model.ids import QueueId
from mta.model.message import Content, Intake, LocalDelivery, Notification, OctetContent, Origin, Placement, Recipient
from mta.model.reply import Reply
from mta.model.verdict import Action
from mta.obs.log import Log
from mta.obs.metrics import ACCEPTING, DELIVERIES, MESSAGES, OCTETS
from mta.pipeline import stages
from mta.pipeline.announce import acceptance_of, report_of
from mta.pipeline.authors import refuse_ambiguous, refuse_foreign
from mta.pipeline.binary import Liner
from mta.pipeline.editor import Editor
from mta.pipeline.enqueue import enqueue, tunnelled, urgency
from mta.pipeline.forwarding import delivered_to, looping
from mta.pipeline.header import apply_edits, build_field
from mta.pipeline.hooks import Decision, Hooks
from mta.pipeline.message import MailMessage
from mta.pipeline.recipients import Dispositions, delivery_steps, dispose, in_place_of, split_off, to_queue
from mta.pipeline.refusals import Refusals
from mta.pipeline.results import strip_forged
from mta.pipeline.rewriting import rewrite, rewrite_header
from mta.pipeline.rulings import DELIVER, Mixed, Ruling, by_score, divide, rule, settle, undecided, uniform
from mta.pipeline.session import MailSession
from mta.pipeline.stream import Stream
from mta.pipeline.trace import format_date, received, return_path, rewritten
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.pluginhost.durable import payload_of
from mta.spool.accept import reply_for
from mta.spool.ids import new_queue_id
from mta_hooks.backends.database import Database
from mta_hooks.edits import RemoveHeader
from mta_hooks.results import AuthResult
from mta_hooks.services import Clock

LOOP = Reply(554, "5.4.6", "too many hops, this message loops")
_SUBMITTED: frozenset[Origin] = frozenset({"submission", "local", "http", "imap"})
_MESSAGE_ID = re.compile(rb"[ \t]*:(?:[ \t]|\r\n[ \t])*(<[^<>\r\n]{1,900}>)")
_AT_ONCE = DELIVERIES["local", "delivered"]
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Pipeline:
    """One for all doors of a worker."""

    def __init__(
        self,
        *,
        config: Config,
        hooks: Hooks,
        resolver: Resolver,
        database: Database,
        clock: Clock,
        log: Log,
        hostname: str,
        refusals: Refusals | None = None,
    ) -> None:
        """``refusals``: where what is not taken is noted for the trace."""
        self._refusals = refusals
        self._hooks, self._resolver, self._database = hooks, resolver, database
        self._clock, self._log, self._hostname = clock, log, hostname
        self._spam, self._hops = config.spam, config.limits.received
        self._editor = Editor(config, log, hostname)
        self._senders = Senders(resolver, config.submission.senders)
        self._unambiguous, self._strip_bcc = config.smtp.header_faults == "refuse", config.submission.strip_bcc
        self._liner = Liner(config.limits.memory_per_message, os.path.join(config.data_dir, "tmp"))

    async def submit(self, session: MailSession, transaction: MailTransaction, content: Content) -> Reply:
        """Judge and take one message. Returns what the peer is told; 250 only after the commit. Raises only for bugs."""
        began = self._clock.monotonic()
        try:
            if transaction.binary:
                content = await self._liner.convert(content)
            intake = await self.prepare(session, transaction, content)
            await self._take(intake, transaction)
        except Refused as refusal:
            self._say("message.refused", session, transaction, content, reply=str(refusal.reply), detail=refusal.detail)
            self._note(session, transaction, content, refusal.reply)
            return refusal.reply
        except (TemporaryFailure, OverQuota, NoSuchUser, StorageDead) as failure:
            reply = reply_for(failure)
            self._say("message.deferred", session, transaction, content, reply=str(reply), detail=str(failure))
            self._note(session, transaction, content, reply, failure)
            return reply
        self._say("message.accepted", session, transaction, content, message_id=intake.message_id)
        ACCEPTING.observe(self._clock.monotonic() - began)
        return Reply(250, "2.0.0", f"queued as {transaction.id}")

    async def inject(
        self,
        *,
        origin: Origin,
        sender: Address | None,
        recipients: Sequence[Address],
        octets: bytes,
        user: str = "",
        id: QueueId | None = None,
        bounce: bool = False,
        notify: frozenset[str] = frozenset(),
        ret: str | None = None,
        envid: str | None = None,
    ) -> QueueId:
        """Take a message that comes without a session (maildrop, hooks, reports). Durable on return.

        id      the same again is accepted once
        octets  any line ends; they become CRLF
        bounce  nobody is there to be told: it is taken even when nobody receives it
        notify, ret, envid  as in RCPT and MAIL (RFC 3461 §4); ``notify`` for all recipients
        A recipient that nobody receives bounces to the sender; when all are such, only with ``bounce``.
        Raises  Refused (nobody receives it, or a hook said no), TemporaryFailure.
        """
        session = MailSession("inject", "local", user=user)
        transaction = MailTransaction(id or new_queue_id(self._clock.now()), origin, sender, {})
        if (plan := self._hooks.address_rewrite) is not None:
            if sender is not None:
                transaction.sender = await rewrite(plan, sender, "envelope_sender", transaction)
            recipients = [await rewrite(plan, one, "envelope_recipient", transaction) for one in recipients]
        transaction.ret, transaction.envid = ret, envid
        transaction.accepted = await self._resolved(recipients, bounce=bounce, notify=notify)
        if b"\0" in octets:
            raise Refused(Reply(550, "5.6.0", "NUL in the message"))
        pairs = octets.count(b"\r\n")
        if not pairs == octets.count(b"\n") == octets.count(b"\r"):
            octets = _LINE_END.sub(b"\r\n", octets)
        transaction.eightbit = not octets.isascii()
        content = OctetContent(octets)
        try:
            await self.hear(session, transaction, content)
            intake = await self.prepare(session, transaction, content)
            await self._take(intake, transaction)
        except Refused as refusal:
            self._note(session, transaction, content, refusal.reply)
            raise
        except (OverQuota, NoSuchUser) as exc:
            self._note(session, transaction, content, reply_for(exc), exc)
            raise Refused(reply_for(exc), str(exc)) from exc
        self._say("message.accepted", session, transaction, content, message_id=intake.message_id)
        return transaction.id

    async def prepare(self, session: MailSession, transaction: MailTransaction, content: Content) -> Intake:
        """Run the stages and say what is to be stored and for whom; nothing is stored. Raises Refused, TemporaryFailure."""
        hooks, now = self._hooks, self._clock.now()
        message = MailMessage(transaction.id, transaction.origin, transaction.sender, content, transaction.notes)
        message.transaction = transaction
        transaction.message_id = _message_id(message)
        if not transaction.discard:
            if message.count(b"received") > self._hops:
                raise Refused(LOOP, "loop")
            if rulings := looping(message, transaction.accepted):
                await self._end_loops(session, transaction, rulings)
            if transaction.bound:
                await refuse_foreign(message, self._senders, session)
            elif self._unambiguous and transaction.origin == "smtp":
                refuse_ambiguous(message)
            self._mend(message, transaction, now)
            if (plan := hooks.mime_part) is not None:
                await stages.inspect(plan, transaction, message)
        if transaction.discard:
            return self._intake(session, transaction, OctetContent(b""), now, message, Dispositions())
        top, results = received(session, transaction, self._hostname, now), list[AuthResult]()
        if writers := hooks.offering.received:
            top = await rewritten(writers, session, transaction, top)
        if (plan := hooks.message_authenticate) is not None:
            results, field = await stages.authenticate(plan, session, message, self._hostname)
            top = field + top
        if hooks.message_check is not None or hooks.message_verdict is not None:
            await self._judge(session, transaction, message, results)
        elif (ruling := by_score(session.score + transaction.score, self._spam)) is not DELIVER:
            await self._obey(transaction, ruling)
        if transaction.discard:
            return self._intake(session, transaction, OctetContent(b""), now, message, Dispositions())
        top = delivered_to(transaction.accepted, smtputf8=transaction.smtputf8) + top
        top = await self._edit(transaction, message, top)
        dispositions = await self._dispose(session, transaction, message, now)
        if transaction.discard:
            return self._intake(session, transaction, OctetContent(b""), now, message, Dispositions())
        path = return_path(transaction)
        return self._intake(session, transaction, message.content(path + top), now, message, dispositions, len(path))

    async def _edit(self, transaction: MailTransaction, message: MailMessage, top: bytes) -> bytes:
        """Rewrite, modify, sign. Returns what of our own fields, ``top``, is not on the message yet. Raises TemporaryFailure."""
        hooks = self._hooks
        if (plan := hooks.address_rewrite) is not None:
            await rewrite_header(plan, message, transaction, self._log)
        if (plan := hooks.message_modify) is not None:
            said = await plan.all(message=message, recipients=transaction.recipients)
            if answers := [(plugin, edit) for plugin, answer in said for edit in stages.each(answer)]:
                await self._editor.edit("message_modify", answers, message, transaction, above=top, resolve=self._resolved)
                top = b""
        if (plan := hooks.message_sign) is not None and not transaction.discard:
            message.head, top = top + message.head, b""
            message.head = await stages.sign(plan, message, self._log)
        return top

    async def _dispose(self, session: MailSession, transaction: MailTransaction, message: MailMessage, now: float) -> Dispositions:
        """Who gets it how. Raises TemporaryFailure."""
        hooks = self._hooks
        dispositions = dispose(
            transaction.accepted,
            quarantine=transaction.quarantine,
            hold=transaction.hold,
            wanted=hooks.deliver_wants if hooks.deliver is not None else None,
            due=transaction.release_at,
        )
        if (plan := hooks.queue_enqueue) is not None and not transaction.discard:
            dispositions.envelopes = await enqueue(plan, session, transaction, message, dispositions, now)
        detailed = any(owner.detail for owner in dispositions.owners.values())
        if (detailed or hooks.mailbox_deliver is not None) and dispositions.deliveries and not transaction.discard:
            await self._place(message, dispositions, session.user)
        return dispositions

    async def hear(self, session: MailSession, transaction: MailTransaction, content: Content) -> None:
        """What the hooks that hear a message while it arrives say of one that comes whole. Raises Refused, TemporaryFailure."""
        stream = await Stream.open(self._hooks, session, transaction)
        if stream is not None:
            for piece in content.chunks():
                await stream.feed(piece)
            await stream.end()

    async def _judge(
        self, session: MailSession, transaction: MailTransaction, message: MailMessage, results: Sequence[AuthResult]
    ) -> None:
        """Let plugins and scores decide, for all recipients or each. Raises Refused."""
        decision: Decision | None = None
        answer: stages.Answer = ("", None)
        if (plan := self._hooks.message_check) is not None:
            decision = await stages.check(plan, session, message, transaction.recipients, results)
            transaction.score += decision.score
            transaction.steps.extend(decision.steps)
        if (plan := self._hooks.message_verdict) is not None and (left := undecided(decision, transaction.accepted)):
            said = (*session.steps, *transaction.steps)
            answer, steps = await stages.decide(plan, message, said, [a.recipient for a in left])
            transaction.steps.extend(steps)
        rest = by_score(session.score + transaction.score, self._spam)
        rulings = rule(decision, answer, rest, transaction.accepted) or [rest]
        if not uniform(rulings):
            await self._divide(session, transaction, rulings, self._spam.mixed_verdict)
        elif rulings[0].verdict is not None:
            await self._obey(transaction, rulings[0])

    async def _obey(self, transaction: MailTransaction, ruling: Ruling) -> None:
        """One ruling for all."""
        if ruling.refuses:
            raise ruling.refusal()
        verdict = ruling.verdict
        if verdict is not None and verdict.action is Action.REDIRECT:
            moved = await self._resolved([_address(text) for text in verdict.target])
            transaction.accepted = in_place_of(transaction.recipients, moved)
        elif verdict is not None:
            transaction.keep(verdict, ruling.plugin)

    async def _end_loops(self, session: MailSession, transaction: MailTransaction, rulings: Sequence[Ruling]) -> None:
        """Who had the message before does not get it again: refused, or left out where others get it. Raises Refused."""
        if uniform(rulings):
            raise rulings[0].refusal()
        await self._divide(session, transaction, rulings, "discard")

    async def _divide(self, session: MailSession, transaction: MailTransaction, rulings: Sequence[Ruling], mixed: Mixed) -> None:
        """A ruling for each, as far as the door can tell them apart."""
        origin = transaction.origin
        pairs, transaction.replies = divide(rulings, transaction.accepted, origin, mixed)
        if not pairs:
            raise next(ruling for ruling in rulings if ruling.refuses).refusal()
        for who, reply in transaction.replies.items():
            self._log.info("message.refused", id=transaction.id, recipient=who, reply=str(reply))
            if self._refusals is not None:
                self._refusals.add("rcpt", reply, session, transaction=transaction, recipients=[who], steps=transaction.steps)
        accepted = []
        for one, ruling in pairs:
            if ruling.mixed and ruling.verdict is not None:
                step = {"hook": "mixed_verdict", "plugin": ruling.plugin, "verdict": ruling.verdict.to_json()}
                transaction.steps.append({**step, "recipient": str(one.recipient.address)})
            if ruling.verdict is not None and ruling.verdict.action is Action.REDIRECT:
                moved = await self._resolved([_address(text) for text in ruling.verdict.target])
                accepted.extend(in_place_of([one.recipient], moved))
            else:
                accepted.append(settle(one, ruling))
        transaction.accepted = accepted

    def _intake(
        self,
        session: MailSession,
        transaction: MailTransaction,
        content: Content,
        now: float,
        message: MailMessage,
        dispositions: Dispositions,
        skip: int = 0,
    ) -> Intake:
        message_id = _message_id(message)
        deliveries = tuple(dispositions.deliveries.values())  # dropped ones too: the trace names them
        notifications: tuple[Notification, ...] = ()
        if deliveries and "delivered" in self._hooks.durable:
            size = content.size - skip
            notifications = tuple(
                _delivered(d, session, transaction, message_id, size, now) for d in deliveries if not d.placement.drop
            )
        if "report_received" in self._hooks.durable and not transaction.discard:
            notifications += report_of(message, self._log)
        if "message_accepted" in self._hooks.durable and not transaction.discard:
            notifications += acceptance_of(session, transaction, message, dispositions.envelopes, now)
        return Intake(
            id=transaction.id,
            origin=transaction.origin,
            sender=transaction.sender,
            content=content,
            received_at=now,
            skip=skip,
            envid=transaction.envid,
            ret=transaction.ret,
            smtputf8=transaction.smtputf8,
            eightbit=transaction.eightbit,
            message_id=message_id,
            user=session.user,
            client=session.client_ip,
            deliveries=deliveries,
            queued=tuple(dispositions.queued.values()),
            notifications=notifications,
            trace=(*session.steps, *transaction.steps, *delivery_steps(deliveries)),
            priority=urgency(transaction, message) if dispositions.queued else 0,
            deliver_by=transaction.deliver_by,
            by_mode=transaction.by_mode,
            requiretls=transaction.requiretls,
        )

    async def _take(self, intake: Intake, transaction: MailTransaction) -> None:
        """Make it durable. One full mailbox among several recipients must not refuse the others: then each waits in the queue."""
        try:
            await self._database.spool.accept(intake)
            _AT_ONCE.value += len(intake.deliveries)
        except (OverQuota, NoSuchUser) as exc:
            if len(intake.deliveries) + len(intake.queued) < 2:
                if isinstance(exc, OverQuota) and "mailbox_event" in self._hooks.durable:
                    for user in exc.users or [d.user for d in intake.deliveries]:
                        self._hooks.occurrences.tell("QuotaExceed", user, queue_id=intake.id)
                raise
            users = exc.users if isinstance(exc, OverQuota) else ()
            others, failed = split_off(intake.deliveries, users)
            queued = intake.queued + to_queue(failed, transaction.accepted)
            served = {str(d.recipient) for d in others}
            told = tuple(n for n in intake.notifications if n.hook != "delivered" or n.payload["recipient"] in served)
            trace = tuple(s for s in intake.trace if s.get("stage") != "delivery" or s["recipient"] in served)
            again = replace(intake, deliveries=tuple(others), queued=queued, notifications=told, trace=trace)
            await self._database.spool.accept(again)
            _AT_ONCE.value += len(again.deliveries)

    def _mend(self, message: MailMessage, transaction: MailTransaction, now: float) -> None:
        """Fields that may not come from outside go; what a submitted message lacks is added (RFC 6409 §8.1, §8.2)."""
        if b"\nreturn-path" in message.lowered or b"\nauthentication-results" in message.lowered:
            message.head = strip_forged(message.head, self._hostname)
        if b"\nmt-priority" in message.lowered:
            tunnelled(transaction, message)
        if transaction.origin not in _SUBMITTED:
            return
        if self._strip_bcc and b"\nbcc" in message.lowered:
            message.head = apply_edits(message.head, (RemoveHeader("Bcc"),))
        added = b""
        if not message.count(b"date"):
            added += build_field("Date", format_date(int(now)))
        if not message.count(b"message-id"):
            added += build_field("Message-ID", f"<{transaction.id}@{self._hostname}>")
        if added:
            message.head += added

    async def _place(self, message: MailMessage, dispositions: Dispositions, login: str) -> None:
        for user, delivery in list(dispositions.deliveries.items()):
            owner = dispositions.owners[user]
            placement = delivery.placement
            if owner.detail:
                message.notes["detail"] = owner.detail
                if placement == Placement() and (folder := await posted_to(self._database, user, owner.detail, login)):
                    placement = replace(placement, folder=folder)
            if (plan := self._hooks.mailbox_deliver) is not None:
                placement = await plan.pipeline(
                    "placement", user=str(owner.address), recipient=delivery.recipient, message=message, placement=placement
                )
            message.notes.pop("detail", None)
            dispositions.deliveries[user] = replace(delivery, placement=placement)

    async def _resolved(
        self, addresses: Sequence[Address], *, bounce: bool = False, notify: frozenset[str] = frozenset()
    ) -> list[Accepted]:
        """Resolve addresses that were not asked for by RCPT. Raises Refused when nobody receives any of them, unless they shall bounce."""
        accepted: list[Accepted] = []
        refusal = Reply(550, "5.1.1", "no recipients")
        found = False
        for address in dict.fromkeys(addresses):
            resolution = await self._resolver.resolve(address)
            if resolution.refusal is not None:
                refusal = resolution.refusal
                resolution = Resolution(local=(HookTarget(address),))  # a deliver hook takes it, or it bounces
            else:
                found = True
            accepted.append(Accepted(Recipient(address, address, notify=notify), resolution))
        if not found and not (bounce and accepted):
            raise Refused(refusal)
        return accepted

    def _note(
        self, session: MailSession, transaction: MailTransaction, content: Content, reply: Reply, failure: Exception | None = None
    ) -> None:
        """Leave a trace of what was not taken."""
        if self._refusals is None:
            return
        error = [{"error": str(failure)[:500]}] if failure is not None else []
        self._refusals.add(
            "message",
            reply,
            session,
            transaction=transaction,
            recipients=[str(one.recipient.original) for one in transaction.accepted],
            steps=[*session.steps, *transaction.steps, *error],
            size=content.size,
            message_id=transaction.message_id,
        )

    def _say(self, event: str, session: MailSession, transaction: MailTransaction, content: Content, **more: object) -> None:
        """Tell the log, and count."""
        origin = transaction.origin
        MESSAGES[origin, event.partition(".")[2]].value += 1
        if event == "message.accepted":
            OCTETS[origin].value += content.size
        self._log.info(
            event,
            id=transaction.id,
            session=session.id,
            sender=transaction.sender or "",
            recipients=len(transaction.accepted),
            recipient=transaction.accepted[0].recipient.address if transaction.accepted else "",
            size=content.size,
            **more,
        )


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as exc:
        raise TemporaryFailure(f"redirect to {text!r}: {exc}") from exc


def _message_id(message: MailMessage) -> str:
    position = message.lowered.find(b"\nmessage-id")
    if position < 0:
        return ""
    match = _MESSAGE_ID.match(message.head, position + 10)  # ``lowered`` has one octet more in front, "\n" is one
    return match[1].decode("utf-8", "replace") if match else ""


def _delivered(
    delivery: LocalDelivery, session: MailSession, transaction: MailTransaction, message_id: str, size: int, now: float
) -> Notification:
    """The outbox row for the ``delivered`` hook: written with the delivery's own transaction."""
    given = next((a.recipient for a in transaction.accepted if a.recipient.address == delivery.recipient), None)
    record = DeliveryRecord(
        id=transaction.id,
        message_id=message_id,
        origin=transaction.origin,
        sender=str(transaction.sender or ""),
        recipient=str(delivery.recipient),
        orcpt=given.orcpt if given else None,
        result="delivered",
        reply=f"250 2.0.0 delivered to {delivery.placement.folder}",
        remote="",
        attempts=1,
        received_at=now,
        at=now,
        size=size,
        user=session.user,
    )
    return Notification("delivered", payload_of(record))
