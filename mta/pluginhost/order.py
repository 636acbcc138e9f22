"""The order of a hook's implementations: the administrator's, then before and after, then the config's list, then the name.

A constraint names a plugin or a role; one that names nobody here is ignored. Constraints that form a circle are an error of the
config; those of plugins give way to the administrator's (``mta.pluginhost.orders``).
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Sequence

from mta.model.errors import ConfigError
from mta.pluginhost.orders import Order
from mta.pluginhost.step import Step

Complain = Callable[[str], ConfigError]
Edges = dict[int, dict[int, str]]
"""id of a step -> id of one that must come earlier -> why."""


def arrange(hook: str, steps: Sequence[Step], order: Order | None = None) -> list[Step]:
    """Return the steps in order, each with its ``reason``. Raises ConfigError for a circle."""
    ranked = sorted(steps, key=lambda s: (s.plugin.place, s.plugin.name, s.line))
    wishes = _wishes(ranked)
    placed = _place(ranked, wishes, lambda names: _circle(hook, names))
    if order is None:
        return _explained(placed, wishes, wishes, None)
    edges = order.edges(ranked)
    _place(ranked, edges, lambda names: _contradiction(hook, order, names))
    for step in ranked:
        for other in ranked:
            if id(other) in wishes[id(step)] and not _reaches(edges, id(other), id(step)):
                edges[id(step)].setdefault(id(other), wishes[id(step)][id(other)])
    return _explained(_place(ranked, edges, lambda names: _circle(hook, names)), edges, wishes, order)


def _circle(hook: str, names: str) -> ConfigError:
    return ConfigError("plugins", f"hooks.{hook}", f"before/after of {names} form a circle", "remove one of them.")


def _contradiction(hook: str, order: Order, names: str) -> ConfigError:
    where = order.pins[0].where if order.pins else order.where
    return ConfigError(where, f"order.{hook}", f"what it says of {names} forms a circle", "remove one of them.")


def _wishes(steps: Sequence[Step]) -> Edges:
    return {id(step): {id(other): f"after {other.plugin.name}" for other in _predecessors(step, steps)} for step in steps}


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


def _reaches(edges: Edges, late: int, early: int) -> bool:
    """Must ``early`` come before ``late`` already, by whatever lies between?"""
    seen, waiting = set[int](), [late]
    while waiting:
        one = waiting.pop()
        if one == early:
            return True
        if one not in seen:
            seen.add(one)
            waiting += edges[one]
    return False


def _place(ranked: Sequence[Step], edges: Edges, circle: Complain) -> list[Step]:
    placed: list[Step] = []
    left = list(ranked)
    while left:
        ready = _next(left, left, edges, frozenset())
        if ready is None:
            raise circle(", ".join(sorted({s.plugin.name for s in left})))
        placed.append(ready)
        left = [s for s in left if s is not ready]
    return placed


def _next(candidates: Sequence[Step], left: Sequence[Step], edges: Edges, above: frozenset[int]) -> Step | None:
    """The first of the candidates that nothing left must precede. One that says "before X" is pulled up to X; one that says
    "after X" steps back behind it, and all others keep their places."""
    for step in candidates:
        blockers = [s for s in left if id(s) in edges[id(step)]]
        if not blockers:
            return step
        if id(step) not in above:
            pulled = [s for s in blockers if {*s.options.before, *s.plugin.before} & step.plugin.known_as]
            if (found := _next(pulled, left, edges, above | {id(step)})) is not None:
                return found
    return None


def _explained(placed: list[Step], edges: Edges, wishes: Edges, order: Order | None) -> list[Step]:
    for step in placed:
        step.reason = _reason(step, placed, edges, wishes, order)
    return placed


def _reason(step: Step, steps: Sequence[Step], edges: Edges, wishes: Edges, order: Order | None) -> str:
    said = [order.because(step)] if order is not None else []
    said += [why for why in edges[id(step)].values() if why.startswith("administrator: ") and (order is None or order.pins)]
    said += [edges[id(step)][other] for other in wishes[id(step)] if edges[id(step)].get(other, "").startswith("after ")]
    given_up = [wishes[id(step)][other] for other in wishes[id(step)] if other not in edges[id(step)]]
    said += [f"before {other.plugin.name}" for other in steps if id(step) in wishes[id(other)] and id(step) in edges[id(other)]]
    said += [f"not {wish}: the administrator's order wins" for wish in given_up]
    roles = f"role {', '.join(step.plugin.roles)}" if step.plugin.roles else ""
    return ", ".join(dict.fromkeys(filter(None, [*said, roles, _listed(step)])))


def _listed(step: Step) -> str:
    plugin = step.plugin
    if plugin.kind == "built-in":
        return "built in, last"
    if plugin.kind == "drop-in":
        return "a drop-in hook, by name after the listed plugins"
    if plugin.kind == "executable":
        return "an executable, by its number after the drop-in hooks"
    return f"number {plugin.place + 1} in plugins"
