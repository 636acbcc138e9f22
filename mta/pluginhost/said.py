"""What plugins said, as steps of a message's trace: JSON-able, with the time each took, and bounded however much they said."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mta.model.verdict import Verdict
from mta.pluginhost.call import Failure
from mta.pluginhost.crossing import BadAnswer, plain
from mta.pluginhost.step import Step

MOST = 2000
"""Steps that one message keeps; a verdict that decides is kept beyond."""
LONGEST = 300
"""Characters of one value in a step."""
_ITEMS = 100


def entry(step: Step, answer: Any) -> Mapping[str, Any]:
    """The step of one implementation's answer or failure: {"hook", "plugin", "seconds", "verdict" | "verdicts" | "error"}."""
    out: dict[str, Any] = {"hook": step.spec.name, "plugin": step.plugin.name, "seconds": round(step.seconds, 6)}
    if answer.__class__ is Failure:
        out["error"] = answer.error
    elif isinstance(answer, Mapping):
        out["verdicts"] = {str(who): verdict.to_json() for who, verdict in answer.items()}
    else:
        out["verdict"] = answer.to_json()
    return out


_JOURNAL: ContextVar["list[Mapping[str, Any]] | None"] = ContextVar("mta_journal", default=None)


@contextmanager
def journal() -> Iterator[None]:
    """What hooks say in here, of no message on its way in, is kept until ``heard`` takes it: an attempt of the queue."""
    token = _JOURNAL.set([])
    try:
        yield
    finally:
        _JOURNAL.reset(token)


def remember(steps: Iterable[Mapping[str, Any]]) -> None:
    """Steps that a verdict chain brought, for the journal."""
    if (kept := _JOURNAL.get()) is not None:
        kept.extend(steps)


def heard() -> tuple[Mapping[str, Any], ...]:
    """What was said in this journal since the last call."""
    kept = _JOURNAL.get()
    if not kept:
        return ()
    said = tuple(kept)
    kept.clear()
    return said


def note(step: Step, answer: Any, arguments: Mapping[str, Any]) -> None:
    """Keep the answer of a hook that gives no verdict (edits, results, a placement), or its failure, with the message it is about.

    A call that is about no message on its way in, and in no ``journal``, leaves nothing; nor does the engine's own directory.
    """
    if step.plugin.kind == "built-in":
        return
    steps = getattr(arguments.get("transaction") or getattr(arguments.get("message"), "transaction", None), "steps", None)
    if steps is None:
        steps = _JOURNAL.get()
    if not isinstance(steps, list) or len(steps) >= MOST:
        return
    out: dict[str, Any] = {"hook": step.spec.name, "plugin": step.plugin.name, "seconds": round(step.seconds, 6)}
    if (recipient := arguments.get("recipient")) is not None:
        out["recipient"] = str(recipient)
    if answer.__class__ is Failure:
        out["error"] = answer.error
    else:
        out["answer"] = shortened(answer)
    steps.append(out)


def shortened(answer: Any) -> Any:
    """The answer as JSON for people: octets are counted, long texts cut."""
    if isinstance(answer, list | tuple):
        return [shortened(each) for each in answer[:_ITEMS]]
    if isinstance(answer, bytes):
        return f"{len(answer)} octets"
    if isinstance(answer, str):
        return answer if len(answer) <= LONGEST else answer[:LONGEST] + "…"
    if isinstance(answer, Verdict):
        return answer.to_json()
    if isinstance(answer, Mapping):
        return {str(key): shortened(each) for key, each in list(answer.items())[:_ITEMS]}
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        try:
            whole = plain(answer)
        except (BadAnswer, RecursionError):
            return str(type(answer).__name__)
        if not isinstance(whole, dict):
            return shortened(whole)
        for field in dataclasses.fields(answer):
            if isinstance(value := getattr(answer, field.name), bytes):
                whole[field.name] = value
        return {"type": type(answer).__name__, **{key: shortened(each) for key, each in whole.items()}}
    return answer if isinstance(answer, int | float | bool | None) else shortened(str(answer))
