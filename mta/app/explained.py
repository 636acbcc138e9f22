"""A performance in words: replies, who said what, where the message would go."""
# SPDX-License-Identifier: Apache-2.0

import difflib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mta.app.rehearsal import Performance, Rehearsal
from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.errors import TemporaryFailure
from mta.model.message import Flags, Intake, OctetContent, QueuedRecipient
from mta.pipeline.header import parse_fields, read_head
from mta.route.router import Router


async def explain(rehearsal: Rehearsal, performance: Performance, message: bytes) -> dict[str, Any]:
    """JSON-able; ``outcome`` is "accepted", "refused", "deferred", or "unanswered"."""
    taken = performance.taken
    score = sum(one.get("verdict", {}).get("score", 0.0) for one in performance.steps)
    out: dict[str, Any] = {
        "outcome": _outcome(performance),
        "dialogue": [{"said": said, "reply": reply} for said, reply in performance.dialogue],
        "steps": list(performance.steps),
        "score": score,
        "refused": [
            {"stage": r.stage, "reply": r.reply, "recipients": list(r.recipients), "state": r.state} for r in performance.refusals
        ],
        "deliveries": [],
        "queued": [],
        "notifications": [],
        "header": {"added": [], "removed": []},
        "caught": [asdict(effect) for effect in performance.effects],
    }
    if taken is None:
        return out
    router = Router(rehearsal.config, rehearsal.hooks)
    out["deliveries"] = [await _delivery(rehearsal, one) for one in taken.deliveries]
    out["queued"] = [await _queued(rehearsal, router, taken, one) for one in taken.queued]
    out["notifications"] = [_notification(rehearsal, one.hook) for one in taken.notifications]
    out["header"] = header_changes(message, taken.content.raw())
    return out


def _outcome(performance: Performance) -> str:
    if performance.cut:
        return "unanswered"
    if performance.taken is not None:
        return "accepted"
    return performance.refusals[-1].state if performance.refusals else "refused"


async def _delivery(rehearsal: Rehearsal, one: Any) -> dict[str, Any]:
    user, place = await rehearsal.account(one.user), one.placement
    return {
        "recipient": str(one.recipient),
        "user": user,
        "folder": place.folder,
        "flags": [flag.name.lower() for flag in Flags if flag & place.flags and flag.name],
        "keywords": sorted(place.keywords),
        "copies": list(place.copies),
        "dropped": place.drop,
    }


async def _queued(rehearsal: Rehearsal, router: Router, taken: Intake, one: QueuedRecipient) -> dict[str, Any]:
    said: dict[str, Any] = {
        "recipient": str(one.address),
        "transport": one.transport,
        "hold": one.hold,
        "notify": sorted(one.notify),
    }
    if one.transport == "local":
        wants = rehearsal.hooks.deliver_wants(one.address)
        said["user"] = await rehearsal.account(one.user) if one.user is not None else ""
        said["waits_for"] = [plugin for plugin, _ in rehearsal.hooks.order("deliver")] if wants else []
        return said
    try:
        route = await router.route(taken.sender, one.address)
        said["next_hop"] = hop_text(route, one.address)
    except TemporaryFailure as exc:
        said["next_hop"] = f"unknown for now: {exc}"
    return said


def hop_text(route: Route, recipient: Address) -> str:
    """Where a route leads."""
    if route.path:
        return f"{route.transport}+unix:{route.path}"
    if not route.host:
        return f"MX of {recipient.domain}"
    if route.mx:
        return (
            f"MX of {route.host}"
            + (f", port {route.port}" if route.port else "")
            + ("" if route.tls == "may" else f" ({route.tls})")
        )
    return f"{route.transport}://{route.host}:{route.port}" + ("" if route.tls == "may" else f" ({route.tls})")


def _notification(rehearsal: Rehearsal, hook: str) -> dict[str, Any]:
    return {"hook": hook, "plugins": [plugin for plugin, _ in rehearsal.hooks.order(hook)]}


def header_changes(before: bytes, after: bytes) -> dict[str, list[str]]:
    """Header fields that the stored message has and the given one has not, and the other way round; in order."""
    old, new = (_fields(octets) for octets in (before, after))
    added, removed = [], []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            removed += old[i1:i2]
            added += new[j1:j2]
    return {"added": added, "removed": removed}


def _fields(octets: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in parse_fields(read_head(OctetContent(octets))[0])]


# ---- for people


def lines_of(said: Mapping[str, Any]) -> list[str]:
    """The same as text."""
    out = []
    for turn in said["dialogue"]:
        first, *more = turn["reply"].split("\n")
        out += [f"C: {turn['said']}", f"S: {first}", *(f"S: {line}" for line in more)]
    out += ["", f"Outcome: {said['outcome']}" + (f", score {said['score']:g}" if said["score"] else "")]
    for step in said["steps"]:
        if step.get("stage") != "delivery":
            out.append("  " + step_text(step))
    for title, key in (("Added", "added"), ("Removed", "removed")):
        out += [f"  {title}: {shown(field)}" for field in said["header"][key]]
    for one in said["deliveries"]:
        more = [*one["flags"], *one["keywords"], *(f"copy to {name}" for name in one["copies"])]
        where = "nowhere (dropped)" if one["dropped"] else one["folder"]
        out.append(f"Mailbox: {one['recipient']} -> {one['user']}, {where}" + (f" ({', '.join(more)})" if more else ""))
    out += [_queued_text(one) for one in said["queued"]]
    for one in said["refused"]:
        out.append(f"Not taken at {one['stage']}: {' '.join(one['recipients']) or '-'}: {one['reply']}")
    for one in said["notifications"]:
        out.append(f"Would be told ({one['hook']}): {', '.join(one['plugins'])}")
    out += [f"Caught: {one['kind']} {one['plugin'] or '-'}: {one['text']}" for one in said["caught"]]
    return out


def _queued_text(one: Mapping[str, Any]) -> str:
    text = f"Queue: {one['recipient']}"
    if "next_hop" in one:
        text += f" -> {one['next_hop']}"
    elif one["waits_for"]:
        text += f" -> deliver hooks: {', '.join(one['waits_for'])}" + (f", then {one['user']}" if one["user"] else "")
    else:
        text += f" -> {one['user'] or 'nobody: bounces'}"
    return text + (f" (held: {one['hold']})" if one["hold"] else "")


def step_text(step: Mapping[str, Any]) -> str:
    """One step of a trace in one line."""
    step = dict(step)
    head = " ".join(str(step.pop(key)) for key in ("stage", "hook", "plugin", "recipient", "result") if key in step)
    seconds = step.pop("seconds", None)
    step.pop("at", None)
    verdict = step.pop("verdict", None)
    parts = [head] if head else []
    if verdict is not None:
        parts.append(_verdict_text(verdict))
    for who, each in step.pop("verdicts", {}).items():
        parts.append(f"{who}: {_verdict_text(each)}")
    answer = step.pop("answer", None)
    if answer is not None:
        parts.append(answer_text(answer))
    parts += [f"{key}={value}" for key, value in step.items()]
    if seconds:
        parts.append(f"({seconds * 1000:.1f} ms)")
    return shown("  ".join(parts))


def _verdict_text(verdict: Mapping[str, Any]) -> str:
    if verdict["action"] == "accept" and "score" in verdict:
        return f"score {verdict['score']:+g}" + (f": {verdict['reason']}" if "reason" in verdict else "")
    code = " ".join(str(verdict[key]) for key in ("code", "enhanced", "text") if key in verdict)
    more = [code, f"({verdict['reason']})" if "reason" in verdict else "", " ".join(verdict.get("target", ()))]
    return " ".join([verdict["action"], *(part for part in more if part)])


def answer_text(answer: Any) -> str:
    """What a hook answered, in words; a verdict too."""
    if answer is None:
        return "no opinion"
    if isinstance(answer, list):
        return "; ".join(answer_text(each) for each in answer)
    if isinstance(answer, Mapping) and "action" in answer:
        return _verdict_text(answer)
    if isinstance(answer, Mapping):
        kind = answer.get("type", "")
        rest = [f"{key}={value}" for key, value in answer.items() if key != "type" and value not in ("", None, [], {}, False)]
        return " ".join([kind, *rest]) if kind else " ".join(rest)
    return str(answer)


def shown(text: str) -> str:
    """Printable, on one line: it holds what strangers sent."""
    return "".join(c if c.isprintable() else "?" for c in text.replace("\t", " "))
