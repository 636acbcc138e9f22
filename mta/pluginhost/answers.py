"""What an implementation may answer: asked for every answer that is not None, before anybody acts on it."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mta.model.reply import Reply
from mta.model.tls import Tlsa
from mta.model.verdict import Action, Verdict
from mta.pluginhost.specs import SPECS, Spec
from mta.wire.dsn.report import RecipientReport
from mta_hooks.capabilities import ImapReply, Pop3Reply
from mta_hooks.views import Envelope

LONGEST_TEXT = 1000
"""Characters of a verdict's text or reason, and of an error as kept and logged."""

LONGEST_DELAY = 30 * 86400
"""Seconds that a hook may put off an attempt."""

_LEVELS = ("none", "may", "require", "encrypt")
_CODES = {Action.REJECT: range(500, 600), Action.DEFER: range(400, 500)}
_HOST = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.|\Z))+\Z|\[[0-9A-Za-z:.]{2,60}\]\Z")
_CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}(?: [!-~]{1,200}){0,20}\Z")  # RFC 5321 §4.1.1.1 ehlo-line


def problem_of(answer: Any, spec: Spec, arguments: Mapping[str, Any]) -> str:
    """Why this hook may not answer that; "" when it may."""
    if spec.each and isinstance(answer, Mapping):
        return _of_each(answer, spec, arguments)
    if spec.mode == "verdict" or (spec.allowed and answer.__class__ is Verdict):
        return of_verdict(answer, spec)
    if spec.answers and not isinstance(answer, spec.answers) and not (spec.listed and _all_of(answer, spec.answers)):
        names = " or ".join(a.__name__ for a in spec.answers)
        return f"must answer {names} or None, not {type(answer).__name__}"
    if isinstance(answer, ImapReply | Pop3Reply):
        return answer.problem()
    further = _FURTHER.get(spec.name)
    return further(answer, arguments) if further is not None else ""


def of_verdict(answer: Any, spec: Spec) -> str:
    """The same of one verdict."""
    if answer.__class__ is not Verdict:
        return f"must answer a Verdict or None, not {type(answer).__name__}"
    verdict: Any = answer
    if not isinstance(verdict.score, int | float) or not abs(verdict.score) < 1e6:  # NaN and infinity would drown all other scores
        return "a score must be a number below a million"
    if not verdict.final:
        return "" if spec.scores else f"{spec.name} adds no scores"
    if verdict.action not in spec.allowed:
        return f"{verdict.action} is not among {', '.join(sorted(spec.allowed))}"
    codes = _CODES.get(verdict.action)
    if codes is not None and verdict.code not in codes:
        return f"{verdict.action} with code {verdict.code}"
    for text in (verdict.text, verdict.reason, verdict.enhanced, *verdict.target):
        if not isinstance(text, str) or len(text) > LONGEST_TEXT:
            return f"a text must be str of at most {LONGEST_TEXT} characters"
    if not (verdict.delay is None or _is_delay(verdict.delay)):
        return f"a delay must be 0 to {LONGEST_DELAY} seconds"
    if verdict.action is Action.REDIRECT and not verdict.target:
        return "redirect without an address"
    return ""


def _of_each(answer: Mapping[Any, Any], spec: Spec, arguments: Mapping[str, Any]) -> str:
    known = {str(r.address) for r in arguments.get("recipients", ())}
    for address, verdict in answer.items():
        if str(address) not in known:
            return f"a verdict for {str(address)[:320]}, who is no recipient"
        if problem := of_verdict(verdict, spec):
            return problem
        if not verdict.final:
            return "a score is the message's, not one recipient's"
    return ""


def _all_of(answer: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(answer, list | tuple) and all(isinstance(each, kinds) for each in answer)


def _of_reply(answer: Any, arguments: Mapping[str, Any]) -> str:
    given: Reply = arguments["reply"]
    if (answer.code, answer.enhanced, answer.close) != (given.code, given.enhanced, given.close):
        return "only the text of a reply may change"
    return (
        ""
        if isinstance(answer.text, str) and 0 < len(answer.text) <= LONGEST_TEXT
        else "a reply needs a text of at most 1000 characters"
    )


def _of_command(answer: Any, _arguments: Mapping[str, Any]) -> str:
    if not 200 <= answer.code <= 599 or answer.code in (334, 354):
        return f"a command cannot be answered {answer.code}"
    return (
        "" if isinstance(answer.text, str) and len(answer.text) <= LONGEST_TEXT else "a text must be str of at most 1000 characters"
    )


def _of_capabilities(answer: Any, _arguments: Mapping[str, Any]) -> str:
    if not isinstance(answer, list | tuple) or not all(isinstance(each, str) for each in answer):
        return f"must answer a list of str or None, not {type(answer).__name__}"
    return next((f"{line[:80]!r} is no capability" for line in answer if not _CAPABILITY.match(line)), "")


def _of_override(answer: Verdict, arguments: Mapping[str, Any]) -> str:
    hook = SPECS[arguments["hook"]]
    if answer.action is Action.ACCEPT and answer.final:
        return ""
    return of_verdict(answer, hook)


def _of_policy(answer: Any, _arguments: Mapping[str, Any]) -> str:
    if answer.concurrency is not None and not (isinstance(answer.concurrency, int) and 1 <= answer.concurrency <= 100):
        return "concurrency must be 1 to 100"
    retry = answer.retry
    if retry is not None and not (
        isinstance(retry, list | tuple) and retry and all(_is_delay(wait) and wait >= 1 for wait in retry)
    ):
        return "retry must be a tuple of at least one number of seconds, each at least 1"
    if answer.rate is not None and not (isinstance(answer.rate, int | float) and 0 < answer.rate <= 1_000_000):
        return "rate must be above 0, transactions a second"
    if answer.recipients is not None and not (isinstance(answer.recipients, int) and 1 <= answer.recipients <= 1000):
        return "recipients must be 1 to 1000"
    for name in ("lifetime", "delay_warning"):
        if not ((seconds := getattr(answer, name)) is None or _is_delay(seconds)):
            return f"{name} must be 0 to {LONGEST_DELAY} seconds"
    return ""


def _of_hosts(answer: Any, _arguments: Mapping[str, Any]) -> str:
    if not isinstance(answer, list | tuple) or not answer or not all(name.__class__ is str for name in answer):
        return f"must answer a list of at least one name or None, not {type(answer).__name__}"
    return next((f"{name[:80]!r} is no host name" for name in answer if not _HOST.match(name)), "")


def _of_level(answer: Any, _arguments: Mapping[str, Any]) -> str:
    if isinstance(answer, str):
        return "" if answer.__class__ is str and answer in _LEVELS else "must answer none, may, require or encrypt"
    if answer.level.__class__ is not str or answer.level not in (*_LEVELS, "dane"):
        return "level must be none, may, require, encrypt or dane"
    if any(not isinstance(record, Tlsa) for record in answer.tlsa):
        return "tlsa must be records of Tlsa"
    if answer.level == "dane" and not answer.problem and not any(record.usable for record in answer.tlsa):
        return "level dane without a usable record"
    names = (answer.name, *answer.names)
    return next(
        (f"{name!r:.80} is no host name" for name in names if name and not (name.__class__ is str and _HOST.match(name))), ""
    )


def _of_status(answer: Any, arguments: Mapping[str, Any]) -> str:
    if not isinstance(answer.code, int) or not 400 <= answer.code <= 599:
        return "a recipient that was refused stays refused: code 400 to 599"
    if any(text.__class__ is not str or len(text) > LONGEST_TEXT for text in (answer.enhanced, answer.text, answer.remote)):
        return f"a text must be str of at most {LONGEST_TEXT} characters"
    if answer.remote != arguments["status"].remote:
        return "who said it does not change"
    if answer.enhanced and not re.fullmatch(rf"{answer.code // 100}\.\d{{1,3}}\.\d{{1,3}}", answer.enhanced):
        return f"{answer.enhanced[:80]!r} is no enhanced code for {answer.code}"
    return "" if answer.delay is None or _is_delay(answer.delay) else f"a delay must be 0 to {LONGEST_DELAY} seconds"


def _of_dsn(answer: Any, arguments: Mapping[str, Any]) -> str:
    given = arguments["report"]
    if any(getattr(answer, n) != getattr(given, n) for n in ("id", "about", "message_id", "sender", "received_at")):
        return "only subject, text, ret and recipients of a report may change"
    known = {one.address: one for one in given.recipients}
    if not isinstance(answer.recipients, list | tuple):
        return "recipients must be a tuple"
    for one in answer.recipients:
        was = known.get(one.address) if one.__class__ is RecipientReport else None
        if was is None or dataclasses.replace(one, status=was.status, diagnostic=was.diagnostic) != was:
            return "of a recipient only status and diagnostic may change"
    texts = [answer.subject, *(text for one in answer.recipients for text in (one.status, one.diagnostic))]
    if any(text.__class__ is not str or len(text) > LONGEST_TEXT for text in texts):
        return f"a text must be str of at most {LONGEST_TEXT} characters"
    if answer.text.__class__ is not str or len(answer.text) > 10 * LONGEST_TEXT:
        return f"text must be str of at most {10 * LONGEST_TEXT} characters"
    return "" if answer.ret in (None, "FULL", "HDRS") else "ret must be FULL, HDRS or None"


def _of_address(answer: Any, arguments: Mapping[str, Any]) -> str:
    return "" if answer == arguments["address"] or answer.is_sound else f"{str(answer)[:320]!r} is no address"


def _of_enqueued(answer: Any, arguments: Mapping[str, Any]) -> str:
    problem = _of_envelopes(answer, arguments, ("hold", "due", "priority"))
    if problem:
        return problem
    for one in answer:
        if one.hold.__class__ is not str or len(one.hold) > LONGEST_TEXT:
            return f"hold must be str of at most {LONGEST_TEXT} characters"
        if one.due and not (isinstance(one.due, int | float) and 0 <= one.due - one.received_at <= LONGEST_DELAY):
            return f"due must be 0, or within {LONGEST_DELAY} seconds after the message came"
        if not isinstance(one.priority, int) or not 0 <= one.priority <= 9:
            return "priority must be 0 to 9"
    return ""


def _of_envelopes(answer: Any, arguments: Mapping[str, Any], free: Collection[str] = ()) -> str:
    """Of those given, with some of their recipients each, nobody twice; other fields than ``free`` and recipients stay."""
    if not isinstance(answer, list | tuple) or not all(one.__class__ is Envelope for one in answer):
        return "must answer a list of Envelope or None"
    given: dict[str, list[Envelope]] = {}
    for one in arguments["envelopes"]:
        given.setdefault(one.id, []).append(one)
    left = {(one.id, who) for ones in given.values() for one in ones for who in one.recipients}
    for one in answer:
        if not one.recipients:
            return "an envelope needs a recipient"
        for who in one.recipients:
            if (one.id, who) not in left:
                return f"{str(who)[:320]} is no recipient of {one.id[:100]}, or twice one"
            left.remove((one.id, who))
        changed = {name: getattr(one, name) for name in free} | {"recipients": one.recipients}
        if not any(dataclasses.replace(old, **changed) == one for old in given[one.id]):
            return f"of an envelope only {', '.join((*free, 'recipients'))} may change"
    return ""


def _is_delay(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= LONGEST_DELAY


_FURTHER: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "dsn_compose": _of_dsn,
    "address_rewrite": _of_address,
    "queue_enqueue": _of_enqueued,
    "queue_admin": _of_envelopes,
    "mx_lookup": _of_hosts,
    "tls_policy": _of_level,
    "delivery_status": _of_status,
    "delivery_policy": _of_policy,
    "smtp_reply": _of_reply,
    "smtp_command": _of_command,
    "smtp_capabilities": _of_capabilities,
    "verdict_override": _of_override,
}
