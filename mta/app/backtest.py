"""Mail that is stored, sent once more to two rehearsals: the config as it is, and the config with another plugin. What differs?

A stored copy gives its envelope away: Return-Path, our own Received field, the trace as long as it is kept. Each copy is replayed
for the one recipient who has it, as it came: what stands above our Received field is taken off again. What was put there by clients over
IMAP, and never came through a door, is passed over.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from mta.app.explained import header_changes, step_text
from mta.app.rehearsal import Door, Envelope, Performance, Rehearsal
from mta.model.directory import User
from mta.model.ids import ModSeq
from mta_hooks.backends.database import Database, TraceRecord

LARGEST = 64 * 2**20
_RETURN_PATH = re.compile(rb"\AReturn-Path: <([^>\r\n]*)>\r\n", re.IGNORECASE)
_RECEIVED = re.compile(rb"^Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", re.MULTILINE)
_FROM = re.compile(r"from (\S+) \(\[(?:IPv6:)?([^\]]+)\]\)")
_ID = re.compile(r"\bid ([0-9A-Za-z-]{8,80})\b")
_FOR = re.compile(r"\bfor <([^>]+)>")
_VOLATILE = re.compile(r"\b[0-9a-f]{20,40}\b|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} \+0000")
_DOORS: Mapping[str, Door] = {"smtp": "smtp", "submission": "submission", "lmtp": "lmtp", "local": "local"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One copy. ``octets``: as it came; ``at``: when."""

    id: str
    at: int
    folder: str
    envelope: Envelope
    octets: bytes
    trace: TraceRecord | None


@dataclass(slots=True)
class Count:
    """How far it is."""

    total: int = 0
    seen: int = 0
    replayed: int = 0
    passed_over: int = 0


async def stored(database: Database, hostname: str, since: float, count: Count) -> AsyncIterator[Stored]:
    """Every copy that came since, one at a time."""
    users = await database.directory.users()
    for user in users:
        for box in await database.store.mailboxes(user.id):
            rows = [row for row in (await database.store.changes(box.id, ModSeq(0))).rows if row.date >= since]
            count.total += len(rows)
            for row in rows:
                count.seen += 1
                if row.size > LARGEST:
                    count.passed_over += 1
                    continue
                octets = await database.store.read(row.blob)
                one = await _read(database, hostname, user, box.name, row.date, octets)
                if one is None:
                    count.passed_over += 1
                else:
                    yield one


async def _read(database: Database, hostname: str, user: User, folder: str, at: int, octets: bytes) -> Stored | None:
    path = _RETURN_PATH.match(octets)
    head = octets[: octets.find(b"\r\n\r\n") + 2]
    ours = next((m for m in _RECEIVED.finditer(head) if f"by {hostname} ".encode() in m[0]), None)
    if path is None or ours is None:
        return None
    text = ours[0].decode("utf-8", "replace").replace("\r\n\t", " ")
    id, caller, only = _ID.search(text), _FROM.search(text), _FOR.search(text)
    found = await database.traces.find(id[1], refused=False, limit=1) if id else []
    trace = found[0] if found and id is not None and found[0].id == id[1] else None
    account = trace.user if trace is not None else ""
    door = _DOORS.get(trace.origin if trace is not None else "smtp", "smtp")
    envelope = Envelope(
        sender=path[1].decode("utf-8", "replace"),
        recipients=[only[1] if only else _recipient(trace, user)],
        client_ip=caller[2] if caller else "127.0.0.1",
        helo=caller[1] if caller else "localhost",
        user=account if door == "submission" else "",
        door=door,
        tls="tls " in text,
    )
    return Stored(id[1] if id else "", at, folder, envelope, octets[ours.end() :], trace)


def _recipient(trace: TraceRecord | None, user: User) -> str:
    """Of several recipients the one whose copy this is, as far as it can be told."""
    own = str(user.address).lower()
    base, _, domain = own.rpartition("@")
    for one in trace.recipients if trace is not None else ():
        local, _, other = one.lower().rpartition("@")
        if other == domain and local.partition("+")[0] == base:
            return one
    return str(user.address)


def summary(performance: Performance, message: bytes) -> dict[str, Any]:
    """What of a performance is compared."""
    taken = performance.taken
    last = performance.refusals[-1] if performance.refusals else None
    said: dict[str, list[str]] = {}
    for step in performance.steps:
        if "plugin" in step:
            words = {key: value for key, value in step.items() if key not in ("seconds", "at", "plugin")}
            said.setdefault(step["plugin"], []).append(_VOLATILE.sub("…", step_text(words)))
    changes = header_changes(message, taken.content.raw()) if taken is not None else {"added": [], "removed": []}
    return {
        "outcome": "accepted" if taken is not None else last.state if last is not None else "refused",
        "reply": "" if taken is not None or last is None else last.reply,
        "folders": sorted(
            "(dropped)" if d.placement.drop else " ".join([d.placement.folder, *sorted(d.placement.keywords)])
            for d in (taken.deliveries if taken is not None else ())
        ),
        "queued": sorted(f"{q.address}{' held' if q.hold else ''}" for q in (taken.queued if taken is not None else ())),
        "header": {key: [_VOLATILE.sub("…", one) for one in fields] for key, fields in changes.items()},
        "said": said,
    }


def then(trace: TraceRecord | None, plugin: str) -> dict[str, Any] | None:
    """What the trace says became of it, as far as it can be compared; ``said`` of the plugin alone."""
    if trace is None:
        return None
    folders = [step.get("folder", "") for step in trace.steps if step.get("stage") == "delivery" and step.get("folder")]
    said = [
        _VOLATILE.sub("…", step_text({k: v for k, v in step.items() if k not in ("seconds", "at", "plugin")}))
        for step in trace.steps
        if step.get("plugin") == plugin
    ]
    return {"outcome": "accepted", "folders": sorted(folders), "said": {plugin: said} if said else {}}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Keys of ``before`` whose values are others now: [before, after]."""
    out = {}
    for key, value in before.items():
        if key == "said":
            names = sorted({*value, *after[key]})
            changed = {n: [value.get(n, []), after[key].get(n, [])] for n in names if value.get(n, []) != after[key].get(n, [])}
            if changed:
                out["said"] = [{n: one[0] for n, one in changed.items()}, {n: one[1] for n, one in changed.items()}]
        elif value != after[key]:
            out[key] = [value, after[key]]
    return out


async def compare(
    one: Stored, present: Rehearsal, candidate: Rehearsal, plugin: str, *, against_trace: bool
) -> dict[str, Any] | None:
    """What would differ, or None."""
    now = summary(await candidate.run(one.envelope, one.octets), one.octets)
    if against_trace:
        known = then(one.trace, plugin)
        if known is None:
            return None
        mine = {**now, "said": {name: words for name, words in now["said"].items() if name == plugin}}
        mine["folders"] = [folder.partition(" ")[0] for folder in now["folders"]]
        found = differences(known, mine)
    else:
        found = differences(summary(await present.run(one.envelope, one.octets), one.octets), now)
    if not found:
        return None
    about = {"id": one.id, "at": one.at, "from": one.envelope.sender, "to": one.envelope.recipients[0], "folder": one.folder}
    return {**about, "differs": found}
