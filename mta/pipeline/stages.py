"""The stages, one function each, in the order that every door keeps: authenticate, check, modify, sign.

A stage is entered only when somebody implements its hook. What plugins answer is checked here: an answer that cannot be used
is logged with the plugin's name and left out; it never reaches the message.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mta.config.sections import Spam
from mta.model.errors import Refused
from mta.model.message import Recipient
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict
from mta.obs.log import Log
from mta.pipeline.header import apply_edits
from mta.pipeline.hooks import Decision, Plan
from mta.pipeline.message import MailMessage
from mta.pipeline.results import build_results
from mta.pipeline.session import MailSession
from mta_hooks.edits import AddHeader, RemoveHeader, ReplaceHeader
from mta_hooks.results import AuthResult

SPAM = Reply(550, "5.7.1", "message was judged to be spam")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What check and scores say of the whole message.

    quarantine, hold, discard  reasons, "" for none
    redirect                   addresses that take the place of all recipients
    steps                      for the trace
    """

    quarantine: str = ""
    hold: str = ""
    discard: str = ""
    redirect: tuple[str, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()


async def authenticate(plan: Plan, session: MailSession, message: MailMessage, hostname: str) -> tuple[list[AuthResult], bytes]:
    """Return all results in plugin order, and the one field that tells them."""
    results = [
        one
        for _, answer in await plan.all(session=session, message=message)
        for one in _each(answer)
        if isinstance(one, AuthResult)
    ]
    return results, build_results(hostname, results)


async def check(
    plan: Plan, session: MailSession, message: MailMessage, recipients: Sequence[Recipient], results: Sequence[AuthResult]
) -> Decision:
    return await plan.verdict(session=session, message=message, recipients=recipients, results=results)


def judge(decision: Decision | None, score: float, spam: Spam) -> Judgement:
    """Turn a decision, and the scores of earlier hooks, into what becomes of the message. Raises Refused."""
    verdict = decision.verdict if decision is not None else None
    steps = decision.steps if decision is not None else ()
    if verdict is not None and verdict.final:
        return _obey(verdict, decision.plugin if decision is not None else "", steps)
    total = score + (decision.score if decision is not None else 0.0)
    if total >= spam.reject:
        raise Refused(SPAM, f"score {total:.1f}")
    if total >= spam.junk:
        return Judgement(quarantine=f"score {total:.1f}", steps=steps)
    return Judgement(steps=steps)


def _obey(verdict: Verdict, plugin: str, steps: tuple[Mapping[str, Any], ...]) -> Judgement:
    reason = verdict.reason or f"by {plugin}"
    match verdict.action:
        case Action.REJECT | Action.DEFER:
            raise Refused(verdict.reply(), f"{plugin}: {verdict.reason}" if verdict.reason else plugin)
        case Action.DISCARD:
            return Judgement(discard=reason, steps=steps)
        case Action.QUARANTINE:
            return Judgement(quarantine=reason, steps=steps)
        case Action.HOLD:
            return Judgement(hold=reason, steps=steps)
        case Action.REDIRECT:
            return Judgement(redirect=verdict.target, steps=steps)
        case Action.ACCEPT:
            return Judgement(steps=steps)


async def modify(plan: Plan, message: MailMessage, recipients: Sequence[Recipient], head: bytes, log: Log) -> bytes:
    """Return ``head`` (trace fields included) with the edits of all plugins, in their order."""
    for plugin, answer in await plan.all(message=message, recipients=recipients):
        head = _edited(head, plugin, answer, AddHeader | RemoveHeader | ReplaceHeader, log)
    return head


async def sign(plan: Plan, message: MailMessage, log: Log) -> bytes:
    """Return the header with what signers add on top; ``message`` is what will be stored."""
    head = message.head
    for plugin, answer in await plan.all(message=message):
        head = _edited(head, plugin, answer, AddHeader, log)
    return head


def _edited(head: bytes, plugin: str, answer: object, allowed: Any, log: Log) -> bytes:
    for edit in _each(answer):
        if not isinstance(edit, allowed):
            log.error("hook.edit.refused", plugin=plugin, problem=f"{type(edit).__name__} is not allowed here")
            continue
        try:
            head = apply_edits(head, (edit,))
        except ValueError as exc:
            log.error("hook.edit.refused", plugin=plugin, header=edit.name, problem=str(exc))
    return head


def _each(answer: object) -> Iterator[Any]:
    if isinstance(answer, list | tuple):
        yield from answer
    elif answer is not None:
        yield answer
