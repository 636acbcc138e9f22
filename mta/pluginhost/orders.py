"""The administrator's order: config ``order``, which wins over before, after, roles and the list of plugins.

    order:
      message_check: [spf, "*", rspamd]      # spf first, rspamd last, all others between, as they would stand
      smtp_rcpt:
        greylist: {after: dnsbl}             # a plugin or role; or a list of them

A list without "*" has it at its end. Names of plugins that do not run are passed over, as those of before and after are.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mta.model.errors import ConfigError
from mta.pluginhost.check import nearest
from mta.pluginhost.section import Where
from mta.pluginhost.specs import SPECS
from mta.pluginhost.step import Step

REST = "*"
_WORDS = ("before", "after")


@dataclass(frozen=True, slots=True)
class Pin:
    """``name`` stands ``word`` ("before" or "after") ``other``; ``where``: "file:line"."""

    name: str
    word: str
    other: str
    where: str


@dataclass(frozen=True, slots=True)
class Order:
    """What is said of one hook. ``first``, ``last``: of a list, around the others."""

    where: str
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.first, *self.last, *(name for pin in self.pins for name in (pin.name, pin.other))))

    def edges(self, steps: Sequence[Step]) -> dict[int, dict[int, str]]:
        """Id of a step -> id of one that must come earlier -> why."""
        out: dict[int, dict[int, str]] = {id(step): {} for step in steps}
        ranks = {id(step): self._rank(step) for step in steps}
        for step in steps:
            mine = ranks[id(step)]
            for other in steps:
                if other.plugin is not step.plugin and ranks[id(other)] < mine:
                    out[id(step)][id(other)] = self._because(step)
        for pin in self.pins:
            early, late = (pin.name, pin.other) if pin.word == "before" else (pin.other, pin.name)
            for step in steps:
                for other in steps:
                    if late in step.plugin.known_as and early in other.plugin.known_as and other.plugin is not step.plugin:
                        out[id(step)][id(other)] = f"administrator: {pin.name} {pin.word} {pin.other} ({pin.where})"
        return out

    def _rank(self, step: Step) -> int:
        for place, name in enumerate(self.first):
            if name in step.plugin.known_as:
                return place
        for place, name in enumerate(self.last):
            if name in step.plugin.known_as:
                return len(self.first) + 1 + place
        return len(self.first)

    def _because(self, step: Step) -> str:
        rank = self._rank(step)
        if rank < len(self.first):
            return f"administrator: number {rank + 1} of order ({self.where})"
        if rank == len(self.first):
            return f"administrator: behind {', '.join(self.first)} ({self.where})"
        from_end = len(self.first) + len(self.last) - rank
        return f"administrator: {'last' if not from_end else f'number {from_end + 1} from the end'} of order ({self.where})"

    def because(self, step: Step) -> str:
        """What a list says of the place of a step; "" when nothing."""
        return self._because(step) if self.first or self._rank(step) != len(self.first) else ""


def read_orders(section: Mapping[str, Any], where: Where) -> dict[str, Order]:
    """Hook -> what the config says. Raises ConfigError."""
    return {hook: _read(hook, said, where) for hook, said in section.items()}


def _read(hook: str, said: Any, where: Where) -> Order:
    key = f"order.{hook}"
    if hook not in SPECS:
        raise ConfigError(where(key), key, f"there is no hook {hook}{nearest(hook, SPECS)}", "mta hooks list shows all.")
    if SPECS[hook].mode == "load":
        raise ConfigError(where(key), key, "is called while loading, in the order of plugins", "remove it.")
    if isinstance(said, Mapping):
        return Order(where(key), pins=tuple(pin for name, value in said.items() for pin in _pins(key, name, value, where)))
    if isinstance(said, str) or not isinstance(said, Sequence) or not all(isinstance(name, str) and name for name in said):
        raise ConfigError(where(key), key, "must be a list of plugins, or a mapping", "[spf, dkim] or {greylist: {after: spf}}.")
    twice = next((name for name in said if list(said).count(name) > 1), None)
    if twice is not None:
        raise ConfigError(where(key), key, f"names {twice} twice", "name it once.")
    middle = list(said).index(REST) if REST in said else len(said)
    return Order(where(key), tuple(said[:middle]), tuple(said[middle + 1 :]))


def _pins(key: str, name: str, value: Any, where: Where) -> list[Pin]:
    at = f"{key}.{name}"
    if not isinstance(value, Mapping) or not value or any(word not in _WORDS for word in value):
        raise ConfigError(where(at), at, "must say before or after", "{before: name} or {after: [name, name]}.")
    out = []
    for word, given in value.items():
        others = [given] if isinstance(given, str) else given
        if not isinstance(others, list | tuple) or not all(isinstance(other, str) and other for other in others):
            raise ConfigError(
                where(f"{at}.{word}"), f"{at}.{word}", "must be names of plugins or roles", "a name, or a list of names."
            )
        if name in others:
            raise ConfigError(where(f"{at}.{word}"), f"{at}.{word}", f"puts {name} {word} itself", "remove it.")
        out += [Pin(name, word, other, where(f"{at}.{word}")) for other in others]
    return out
