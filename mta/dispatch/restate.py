"""The hook ``delivery_status``: an answer of a next hop, as a plugin understands it."""
# SPDX-License-Identifier: Apache-2.0

import re

from mta.dispatch.conclude import Finding
from mta.model.delivery import DeliveryPolicy, DeliveryStatus, QueuedMessage
from mta.model.errors import HookFailed, TemporaryFailure
from mta.obs.log import Log
from mta.outbound.courier import Result
from mta.outbound.view import envelope_of
from mta.pluginhost.plan import Plan

_REPLY = re.compile(r"(\d{3})(?: ([245]\.\d{1,3}\.\d{1,3})(?= |\Z))?(?: (.*))?", re.DOTALL)


async def restate(plan: Plan, message: QueuedMessage, result: Result, policy: DeliveryPolicy | None, log: Log) -> Finding:
    """What to do about one recipient. Who was taken stays taken, so nobody gets a message twice for a plugin's sake."""
    plain = Finding(result.leased, result.reply, result.remote, confirms=result.confirms, untimed=result.untimed, policy=policy)
    found = _REPLY.match(result.reply)
    if result.code < 400 or found is None:
        return plain
    said = DeliveryStatus(int(found[1]), found[2] or "", found[3] or "", result.remote)
    try:
        status: DeliveryStatus = await plan.pipeline(
            "status", envelope=envelope_of(message, [result.leased]), recipient=result.leased.address, status=said
        )
    except Exception as exc:  # noqa: BLE001  # what became of the others must be written
        mistake = not isinstance(exc, TemporaryFailure)
        log.warning("status.failed", id=message.id, recipient=str(result.leased.address), reason=str(exc), exc_info=mistake)
        reply, trouble = f"451 4.3.0 not understood for now: {result.reply}", exc.trouble if isinstance(exc, HookFailed) else None
        return Finding(result.leased, reply, result.remote, policy=policy, trouble=trouble)
    if status == said:
        return plain
    reply = " ".join(str(status).split())
    return Finding(result.leased, reply, result.remote, delay=status.delay, policy=policy)
