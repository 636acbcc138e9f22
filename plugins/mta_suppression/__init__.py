"""Addresses that bounce for good again and again are not written to any more.

Counted is what other servers say of an address: that nobody has it, or that it is disabled (RFC 3463 X.1.x, X.2.1), once a day. From
``after`` such days within ``within`` on, the address is refused at RCPT and given up when a message for it is already in the queue; for
``keep``, or until it is removed. Left out: answers about policy, sizes and full mailboxes, and bounces that come in by mail.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import TYPE_CHECKING

from mta_hooks import Address, Attempt, Context, DeliveryRecord, Envelope, Session, Transaction, Verdict, hookimpl, reject
from mta_hooks.services import Registry
from mta_suppression.addresses import METADATA, Addresses
from mta_suppression.config import SuppressionConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY = 6 * 3600.0
_HARD = re.compile(r"5\d\d (?:5\.1\.(?:1|2|3|6|10)|5\.2\.1)(?: |\Z)")


class Suppression:
    roles = ("suppression",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        from mta_suppression.commands import suppression

        registry.config(SuppressionConfig)
        registry.schema(METADATA)
        registry.cli(suppression)
        registry.job("expire", EVERY, self.expire)

    @hookimpl(on_error="continue")
    async def smtp_rcpt(self, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
        """An error of ours lets the mail go."""
        return _refuse(await Addresses(ctx.db).suppressed([recipient], ctx.clock.now()))

    @hookimpl(on_error="continue")
    async def delivery_attempt(self, envelope: Envelope, attempt: Attempt, ctx: Context) -> Verdict | None:
        """What was in the queue before, or comes by an alias. A verdict is for all recipients, so all have to be on the list."""
        found = await Addresses(ctx.db).suppressed(envelope.recipients, ctx.clock.now())
        return _refuse(found) if len(found) == len({_key(who) for who in envelope.recipients}) else None

    @hookimpl
    async def bounced(self, record: DeliveryRecord, ctx: Context) -> None:
        config: SuppressionConfig = ctx.config
        if not record.remote or not _HARD.match(record.reply):
            return
        now = ctx.clock.now()
        if await Addresses(ctx.db).bounced(record.recipient.lower(), record.reply, now, config):
            ctx.log.warning("suppression.added", recipient=record.recipient, reply=record.reply)

    async def expire(self, ctx: Context) -> None:
        config: SuppressionConfig = ctx.config
        if gone := await Addresses(ctx.db).expire(ctx.clock.now(), config):
            ctx.log.info("suppression.expired", rows=gone)


def _key(who: Address) -> str:
    return str(who).lower()


def _refuse(found: "Sequence[str]") -> Verdict | None:
    if not found:
        return None
    return reject(
        "mail to this address has bounced before, it is on the suppression list", code=550, enhanced="5.1.1", reason=found[0]
    )
