"""Who gets the message, and how: mailboxes in the accepting transaction, the rest as queue rows."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mta.model.address import Address
from mta.model.directory import MailboxTarget
from mta.model.ids import UserId
from mta.model.message import Flags, LocalDelivery, Placement, QueuedRecipient, Recipient
from mta.pipeline.transaction import Accepted
from mta.wire.smtp.params import encode_xtext
from mta_hooks.views import Envelope

JUNK = Placement(folder="Junk")
TAGGED = Placement(keywords=frozenset({"$Junk"}))
"""In the inbox, marked as mail readers mark spam (IANA's IMAP keywords)."""
_SUCCESS = frozenset({"SUCCESS"})
_INBOX = Placement()


@dataclass(slots=True)
class Dispositions:
    """Nobody twice: an account, or an address elsewhere, that several recipients stand for gets one copy, the first's.

    owners  what the resolver said of each account that has a delivery: canonical address, and what stood behind the "+"
    envelopes  what ``queue_enqueue`` made of the recipients, where it was asked
    """

    deliveries: dict[UserId, LocalDelivery] = field(default_factory=dict)
    queued: dict[tuple[str, object], QueuedRecipient] = field(default_factory=dict)
    owners: dict[UserId, MailboxTarget] = field(default_factory=dict)
    envelopes: tuple[Envelope, ...] = ()


def dispose(
    accepted: Sequence[Accepted],
    *,
    quarantine: str = "",
    hold: str = "",
    wanted: Callable[[Address], bool] | None = None,
    due: float = 0.0,
) -> Dispositions:
    """Say what happens to each recipient.

    quarantine, hold  reasons that hold for all recipients
    wanted            says whether a ``deliver`` hook is meant for a recipient: then it waits in the queue for that, except a
                      suspect one: a hook is not given what a reader would not be shown
    due               wall clock before which nobody gets it; 0.0: at once
    """
    out = Dispositions()
    for one in accepted:
        recipient, held, suspect = one.recipient, one.hold or hold, one.quarantine or quarantine
        doubt = suspect or one.tag
        place = JUNK if suspect else TAGGED if one.tag else _INBOX
        waits = due > 0 or bool(recipient.notify & _SUCCESS)  # a success report (RFC 3461 §5.2.3) is the queue's work
        if wanted is not None and not waits:
            waits = wanted(recipient.address)
        for target in one.resolution.local:
            if isinstance(target, MailboxTarget) and not held and (doubt or not waits):
                if target.user not in out.deliveries:
                    out.deliveries[target.user] = LocalDelivery(
                        target.user, recipient.address, place, recipient.orcpt, recipient.notify
                    )
                    out.owners[target.user] = target
            elif isinstance(target, MailboxTarget):
                out.queued.setdefault(("local", target.user), _row(recipient, recipient.address, target.user, held, due))
            else:
                reason = held or (doubt and f"quarantine: {doubt}")
                out.queued.setdefault(("local", target.address), _row(recipient, target.address, None, reason, due))
        for address in one.resolution.remote:
            reason = held or (doubt and f"quarantine: {doubt}")
            out.queued.setdefault(
                ("remote", address),
                QueuedRecipient(address, "remote", None, orcpt_of(recipient, address), recipient.notify, reason, due),
            )
    return out


def delivery_steps(deliveries: Sequence[LocalDelivery]) -> list[dict[str, Any]]:
    """What the trace says of mailboxes served in the accepting transaction."""
    steps = []
    for delivery in deliveries:
        place = delivery.placement
        step = {
            "stage": "delivery",
            "recipient": str(delivery.recipient),
            "result": "dropped" if place.drop else "delivered",
            "folder": place.folder,
        }
        if place.flags:
            step["flags"] = ", ".join(flag.name.lower() for flag in Flags if flag & place.flags and flag.name)
        if place.keywords:
            step["keywords"] = ", ".join(sorted(place.keywords))
        if place.copies:
            step["copies"] = ", ".join(place.copies)
        steps.append(step)
    return steps


def to_queue(deliveries: Sequence[LocalDelivery], accepted: Sequence[Accepted]) -> tuple[QueuedRecipient, ...]:
    """The same deliveries as queue rows, each to succeed or fail for itself."""
    given = {a.recipient.address: a.recipient for a in accepted}
    return tuple(_row(given[d.recipient], d.recipient, d.user, "") for d in deliveries)


def split_off(deliveries: Sequence[LocalDelivery], users: Collection[UserId]) -> tuple[list[LocalDelivery], list[LocalDelivery]]:
    """Deliveries of others, and of these ``users``; all are of these when nobody is named."""
    others = [d for d in deliveries if users and d.user not in users]
    return others, [d for d in deliveries if d not in others]


def _row(recipient: Recipient, address: Address, user: UserId | None, hold: str, due: float = 0.0) -> QueuedRecipient:
    return QueuedRecipient(address, "local", user, orcpt_of(recipient, address), recipient.notify, hold, due)


def orcpt_of(recipient: Recipient, address: Address) -> str | None:
    """Whom the peer meant, when mail for ``recipient`` goes to ``address`` (RFC 3461 §4.2): its own word, or the address it named."""
    if recipient.orcpt is not None or address == recipient.original or not recipient.original.is_ascii:
        return recipient.orcpt
    return f"rfc822;{encode_xtext(str(recipient.original))}"


def in_place_of(old: Sequence[Recipient], new: Sequence[Accepted]) -> list[Accepted]:
    """Recipients that somebody redirected others to: they report as those would have (RFC 3461 §5.2.7.3)."""
    notify = frozenset().union(*(one.notify for one in old))
    if len(notify) > 1:
        notify -= {"NEVER"}
    only = old[0] if len(old) == 1 else None
    out = []
    for one in new:
        was = one.recipient
        orcpt, original = (only.orcpt, only.original) if only is not None else (None, was.original)
        out.append(replace(one, recipient=Recipient(was.address, original, orcpt, notify, was.params)))
    return out
