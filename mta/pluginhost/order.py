"""The order of a hook's implementations: before and after, then the config's list, then the name.

A constraint names a plugin or a role; one that names nobody here is ignored. A cycle is an error of the config.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.model.errors import ConfigError
from mta.pluginhost.call import Step


def arrange(hook: str, steps: Sequence[Step]) -> list[Step]:
    """Return the steps in order, each with its ``reason``. Raises ConfigError for a cycle."""
    ranked = sorted(steps, key=lambda s: (s.plugin.place, s.plugin.name, s.line))
    first_of = {id(step): _predecessors(step, ranked) for step in ranked}
    placed: list[Step] = []
    left = ranked
    while left:
        ready = _next(left, left, first_of, frozenset())
        if ready is None:
            names = ", ".join(sorted({s.plugin.name for s in left}))
            raise ConfigError("plugins", f"hooks.{hook}", f"before/after of {names} form a circle", "remove one of them.")
        ready.reason = _reason(ready, first_of[id(ready)], ranked)
        placed.append(ready)
        left = [s for s in left if s is not ready]
    return placed


def _next(
    candidates: Sequence[Step], left: Sequence[Step], first_of: Mapping[int, Sequence[Step]], above: frozenset[int]
) -> Step | None:
    """The first of the candidates that nothing left must precede. One that says "before X" is pulled up to X; one that says
    "after X" steps back behind it, and all others keep their places."""
    for step in candidates:
        blockers = [s for s in left if s in first_of[id(step)]]
        if not blockers:
            return step
        if id(step) not in above:
            pulled = [s for s in blockers if {*s.options.before, *s.plugin.before} & step.plugin.known_as]
            if (found := _next(pulled, left, first_of, above | {id(step)})) is not None:
                return found
    return None


def _predecessors(step: Step, steps: Sequence[Step]) -> list[Step]:
    """Those that must come earlier: named in ``after`` of this one, or naming this one in their ``before``."""
    mine = step.plugin.known_as
    after = {*step.options.after, *step.plugin.after}
    return [
        other
        for other in steps
        if other.plugin is not step.plugin
        and (after & other.plugin.known_as or {*other.options.before, *other.plugin.before} & mine)
    ]


def _reason(step: Step, first: Sequence[Step], steps: Sequence[Step]) -> str:
    plugin = step.plugin
    if plugin.kind == "built-in":
        place = "built in, last"
    elif plugin.kind == "drop-in":
        place = "a drop-in hook, by name after the listed plugins"
    elif plugin.kind == "executable":
        place = "an executable, by its number after the drop-in hooks"
    else:
        place = f"number {plugin.place + 1} in plugins"
    wishes = [f"after {other.plugin.name}" for other in first]
    wishes += [f"before {other.plugin.name}" for other in steps if step in _predecessors(other, steps)]
    return ", ".join([*dict.fromkeys(wishes), place])
