"""Web hooks: deliveries and mailbox events as signed JSON, POSTed to one URL, as Standard Webhooks 1.0 has it.

The hooks are durable: a note was written with the message's own transaction, and whatever but a 2xx answers it, the outbox tries
again with growing waits, at last keeping it as a dead letter. So a receiver may be told twice, and tells by ``webhook-id``.
Left out: several URLs, asymmetric signatures, batches.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import Context, DeliveryRecord, MailboxEvent, TemporaryFailure, hookimpl
from mta_hooks.services import Registry
from mta_webhook.config import WebhookConfig
from mta_webhook.note import build_note
from mta_webhook.signature import sign


@hookimpl
def register(registry: Registry) -> None:
    registry.config(WebhookConfig)
    registry.notifications(lambda config: config.events)


@hookimpl
async def delivered(record: DeliveryRecord, ctx: Context) -> None:
    await _tell("delivered", record, ctx)


@hookimpl
async def deferred(record: DeliveryRecord, ctx: Context) -> None:
    await _tell("deferred", record, ctx)


@hookimpl
async def bounced(record: DeliveryRecord, ctx: Context) -> None:
    await _tell("bounced", record, ctx)


@hookimpl
async def mailbox_event(event: MailboxEvent, ctx: Context) -> None:
    await _tell("mailbox_event", event, ctx)


async def _tell(hook: str, record: DeliveryRecord | MailboxEvent, ctx: Context) -> None:
    """Raises TemporaryFailure unless the receiver took it."""
    config: WebhookConfig = ctx.config
    id, body = build_note(hook, record)
    headers = {"Content-Type": "application/json", **sign(config.keys, id, int(ctx.clock.now()), body)}
    try:
        reply = await ctx.http.request("POST", config.url, headers=headers, data=body, timeout=config.deadline)
    except TimeoutError as exc:
        raise TemporaryFailure(f"the web hook did not answer within {config.deadline:g} s") from exc
    except OSError as exc:
        raise TemporaryFailure(f"the web hook is away: {exc}") from exc
    if not 200 <= reply.status < 300:
        raise TemporaryFailure(f"the web hook answered {reply.status}")
    ctx.log.debug("webhook.told", hook=hook, id=id, status=reply.status)
