"""One hook's chain called on a message at hand, as the server calls it: what each implementation says, and what that comes to."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from mta.app.rehearsal import Envelope, Rehearsal
from mta.model.address import Address
from mta.model.delivery import DeliveryRecord
from mta.model.directory import MailboxTarget
from mta.model.errors import ConfigError
from mta.model.message import OctetContent, Placement, Recipient
from mta.model.reply import Reply
from mta.pipeline.message import MailMessage
from mta.pipeline.parts import parts_of
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.pluginhost.call import Failure
from mta.pluginhost.said import shortened
from mta.pluginhost.specs import SPECS
from mta.pluginhost.step import Step
from mta.spool.ids import new_queue_id
from mta.wire.mime import parse
from mta_hooks.views import Attempt, Tls
from mta_hooks.views import Envelope as QueuedEnvelope


async def try_hook(rehearsal: Rehearsal, hook: str, envelope: Envelope, message: bytes) -> dict[str, Any]:
    """JSON-able: {"hook", "mode", "said": [{"plugin", "file", "line", "seconds", "answer" | "error", "part"?}], "caught"}.

    Raises ConfigError for a hook that takes what a message and an envelope do not have.
    """
    spec = SPECS[hook]
    made = await Arguments.make(rehearsal, envelope, message)
    missing = [name for name in spec.arguments if name not in made.values and name != "part"]
    if missing:
        can = ", ".join(
            sorted(name for name, one in SPECS.items() if one.mode != "load" and set(one.arguments) <= {*made.values, "part"})
        )
        raise ConfigError("(command line)", hook, f"needs {', '.join(missing)}, which a message does not bring", f"one of: {can}.")
    plan = getattr(rehearsal.hooks, hook)
    out: dict[str, Any] = {"hook": hook, "mode": spec.mode, "said": []}
    if plan is not None:
        if hook == "message_check" and rehearsal.hooks.message_authenticate is not None:
            answers = await rehearsal.hooks.message_authenticate.survey(session=made.session, message=made.message)
            made.values["results"] = [one for _, answer in answers for one in _each(answer)]
        for part in parts_of(parse(message), message) if "part" in spec.arguments else (None,):
            given = {name: made.values[name] for name in spec.arguments if name != "part"}
            if part is not None:
                given["part"] = part
            for step, answer in await plan.survey(**given):
                if hook == "message_sink":
                    answer = await _poured(answer, message)
                said = _said(step, answer)
                out["said"].append(said if part is None else {**said, "part": f"{part.path} {part.content_type}"})
    out["caught"] = [{"kind": e.kind, "plugin": e.plugin, "text": e.text} for e in rehearsal.caught.effects]
    return out


def _each(answer: Any) -> list[Any]:
    if answer is None or isinstance(answer, Failure):
        return []
    return list(answer) if isinstance(answer, list | tuple) else [answer]


def _said(step: Step, answer: Any) -> dict[str, Any]:
    out = {"plugin": step.plugin.name, "file": step.file, "line": step.line, "seconds": round(step.seconds, 6)}
    if isinstance(answer, Failure):
        return {**out, "error": answer.error, "then": step.on_error}
    return {**out, "answer": shortened(answer)}


async def _poured(sink: Any, message: bytes) -> Any:
    """What a sink says of the whole message."""
    if sink is None or isinstance(sink, Failure):
        return sink
    for start in range(0, len(message), 65536):
        fed = sink.feed(message[start : start + 65536])
        if isawaitable(fed):
            await fed
    said = sink.close()
    return await asyncio.ensure_future(said) if isawaitable(said) else said


class Arguments:
    """``values``: by the names that hooks use."""

    def __init__(self, session: MailSession, transaction: MailTransaction, message: MailMessage, values: dict[str, Any]) -> None:
        self.session, self.transaction, self.message, self.values = session, transaction, message, values

    @classmethod
    async def make(cls, rehearsal: Rehearsal, envelope: Envelope, octets: bytes) -> "Arguments":
        clock, hostname = rehearsal.clock, rehearsal.config.hostname
        session = MailSession("try", envelope.door, tls=envelope.tls, user=envelope.user)
        session.client_ip, session.helo, session.esmtp = envelope.client_ip, envelope.helo, True
        sender = Address.parse(envelope.sender) if envelope.sender else None
        transaction = MailTransaction(new_queue_id(clock.now()), envelope.door, sender, {})
        addresses = [Address.parse(text) for text in envelope.recipients]
        for address in addresses:
            transaction.accepted.append(Accepted(Recipient(address, address), await rehearsal.resolver.resolve(address)))
        message = MailMessage(transaction.id, transaction.origin, sender, OctetContent(octets), transaction.notes)
        message.transaction = transaction
        first = addresses[0]
        owner = next((t for t in transaction.accepted[0].resolution.local if isinstance(t, MailboxTarget)), None)
        if owner is not None and owner.detail:
            message.notes["detail"] = owner.detail
        queued = QueuedEnvelope(message.id, sender, tuple(addresses), transaction.origin, clock.now(), 0, envelope.user)
        values: dict[str, Any] = {
            "session": session,
            "transaction": transaction,
            "message": message,
            "recipients": transaction.recipients,
            "recipient": first,
            "address": first,
            "domain": first.domain,
            "sender": sender,
            "params": {},
            "headers": list(message.headers),
            "results": [],
            "scores": {},
            "user": str(owner.address) if owner is not None else str(first),
            "username": envelope.user or str(first),
            "service": "smtp",
            "mechanism": "PLAIN",
            "placement": Placement(),
            "name": envelope.helo,
            "verb": "EHLO",
            "tls": Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
            "capabilities": ["PIPELINING", "8BITMIME", "SMTPUTF8"],
            "command": "RCPT",
            "reply": Reply(250, "2.1.5", "recipient ok"),
            "reason": "message",
            "envelope": queued,
            "envelopes": [queued],
            "attempt": Attempt(1, first.domain, "smtp"),
            "site": first.domain,
            "mx": f"mx.{first.domain}",
            "record": _record(transaction, message, first, hostname, clock.now(), envelope),
        }
        return cls(session, transaction, message, values)


def _record(
    transaction: MailTransaction, message: MailMessage, recipient: Address, hostname: str, now: float, envelope: Envelope
) -> DeliveryRecord:
    return DeliveryRecord(
        id=transaction.id,
        message_id=message.header("message-id") or f"<{transaction.id}@{hostname}>",
        origin=transaction.origin,
        sender=str(transaction.sender or ""),
        recipient=str(recipient),
        orcpt=None,
        result="delivered",
        reply="250 2.0.0 delivered to INBOX",
        remote="",
        attempts=1,
        received_at=now,
        at=now,
        size=message.size,
        user=envelope.user,
    )


def tryout_lines(said: Mapping[str, Any], answer_text: Any) -> list[str]:
    """The same as text."""
    if not said["said"]:
        return [f"{said['hook']}: nobody implements it."]
    out = []
    for one in said["said"]:
        part = f" [{one['part']}]" if "part" in one else ""
        what = f"error: {one['error']} (then: {one['then']})" if "error" in one else answer_text(one["answer"])
        out.append(f"{one['plugin']}{part} ({one['file']}:{one['line']}, {one['seconds'] * 1000:.1f} ms): {what}")
    out += [f"Caught: {one['kind']} {one['plugin'] or '-'}: {one['text']}" for one in said["caught"]]
    return out
