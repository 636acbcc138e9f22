"""The stages, one function each, in the order that every door keeps: parts, authenticate, check, verdict, modify, sign.

A stage is entered only when somebody implements its hook. What plugins answer is checked here: an answer that cannot be used
is logged with the plugin's name and left out; it never reaches the message.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mta.model.message import Recipient
from mta.model.verdict import Verdict
from mta.obs.log import Log
from mta.pipeline.header import apply_edits
from mta.pipeline.hooks import Decision, Plan
from mta.pipeline.message import MailMessage
from mta.pipeline.parts import parts_of
from mta.pipeline.results import build_results
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import MailTransaction, heed
from mta.wire.mime import parse
from mta_hooks.edits import AddHeader
from mta_hooks.results import AuthResult

Answer = tuple[str, Verdict | Mapping[object, Verdict] | None]
"""Of ``message_verdict``: plugin, and what it said of all or of each."""

_LARGE = 2**20
"""Octets from which a message is taken apart in a thread."""
_PARTS = 100
"""Parts that are looked at before others have their turn of the event loop."""
_OPINIONS = 100
"""Trace steps that the parts of one message leave at most."""


async def inspect(plan: Plan, transaction: MailTransaction, message: MailMessage) -> None:
    """Ask of each part, until one refuses or discards the message. Raises Refused."""
    octets = message.raw
    root = parse(octets) if len(octets) < _LARGE else await asyncio.get_running_loop().run_in_executor(None, parse, octets)
    room = _OPINIONS
    for number, part in enumerate(parts_of(root, octets), 1):
        decision = await plan.verdict(message=message, part=part)
        if decision.verdict is not None or room > 0:
            heed(transaction, decision)
            room -= len(decision.steps)
        else:
            transaction.score += decision.score
        if transaction.discard:
            return
        if number % _PARTS == 0:
            await asyncio.sleep(0)


async def authenticate(plan: Plan, session: MailSession, message: MailMessage, hostname: str) -> tuple[list[AuthResult], bytes]:
    """Return all results in plugin order, and the one field that tells them."""
    results = [
        one for _, answer in await plan.all(session=session, message=message) for one in each(answer) if isinstance(one, AuthResult)
    ]
    return results, build_results(hostname, results)


async def check(
    plan: Plan, session: MailSession, message: MailMessage, recipients: Sequence[Recipient], results: Sequence[AuthResult]
) -> Decision:
    return await plan.verdict(session=session, message=message, recipients=recipients, results=results)


async def decide(
    plan: Plan, message: MailMessage, steps: Iterable[Mapping[str, Any]], recipients: Sequence[Recipient]
) -> tuple[Answer, list[Mapping[str, Any]]]:
    """Ask for the final word over the scores: (plugin, answer), and its step for the trace."""
    scores: dict[str, float] = {}
    for step in steps:
        if score := step.get("verdict", {}).get("score", 0.0):
            scores[step["plugin"]] = scores.get(step["plugin"], 0.0) + score
    plugin, answer = await plan.named(message=message, scores=scores, recipients=recipients)
    if answer is None:
        return ("", None), []
    step = {"hook": "message_verdict", "plugin": plugin}
    if isinstance(answer, Mapping):
        return (plugin, answer), [{**step, "verdicts": {str(who): v.to_json() for who, v in answer.items()}}]
    return (plugin, answer), [{**step, "verdict": answer.to_json()}]


async def sign(plan: Plan, message: MailMessage, log: Log) -> bytes:
    """Return the header with what signers add on top; ``message`` is what will be stored."""
    head = message.head
    for plugin, answer in await plan.all(message=message):
        head = _edited(head, plugin, answer, AddHeader, log)
    return head


def _edited(head: bytes, plugin: str, answer: object, allowed: Any, log: Log) -> bytes:
    for edit in each(answer):
        if not isinstance(edit, allowed):
            log.error("hook.edit.refused", plugin=plugin, problem=f"{type(edit).__name__} is not allowed here")
            continue
        try:
            head = apply_edits(head, (edit,))
        except ValueError as exc:
            log.error("hook.edit.refused", plugin=plugin, header=edit.name, problem=str(exc))
    return head


def each(answer: object) -> Iterator[Any]:
    """One answer or a list of them."""
    if isinstance(answer, list | tuple):
        yield from answer
    elif answer is not None:
        yield answer
