"""``cidr:`` tables (cidr_table(5)): networks in order, "!", if and endif. The first that holds counts; a key that is no address has none."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from mta.lookup.text import logical_lines
from mta.model.network import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class _Rule:
    """``skip``: of an ``if``, the number of the rule behind its ``endif``."""

    network: IPNetwork
    negated: bool
    value: str
    skip: int = 0


@dataclass(slots=True)
class Networks:
    problems: list[tuple[int, str]] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> "Networks":
        out = cls()
        opened: list[tuple[int, int]] = []
        for number, line in logical_lines(text):
            word, rest = ([*line.split(None, 1), ""])[:2]
            if word.lower() == "endif":
                if not opened:
                    out.problems.append((number, "endif without if"))
                else:
                    place, _ = opened.pop()
                    old = out._rules[place]
                    out._rules[place] = _Rule(old.network, old.negated, "", len(out._rules))
                continue
            conditional = word.lower() == "if"
            pattern, value = ([*(rest if conditional else line).split(None, 1), "", ""])[:2]
            negated = pattern.startswith("!")
            try:
                network = ip_network(pattern.removeprefix("!").strip("[]"))
            except ValueError as exc:
                out.problems.append((number, str(exc)))
                continue
            if conditional:
                opened.append((len(out._rules), number))
                out._rules.append(_Rule(network, negated, "", -1))
            elif not value.strip():
                out.problems.append((number, "expected: network, white space, value"))
            else:
                out._rules.append(_Rule(network, negated, value.strip()))
        for place, number in opened:
            out.problems.append((number, "if without endif"))
            old = out._rules[place]
            out._rules[place] = _Rule(old.network, old.negated, "", len(out._rules))
        return out

    def get(self, key: str) -> str | None:
        try:
            address: IPAddress = ip_address(key)
        except ValueError:
            return None
        at = 0
        while at < len(self._rules):
            rule = self._rules[at]
            holds = address.version == rule.network.version and (address in rule.network) != rule.negated
            if rule.skip:
                at = at + 1 if holds else rule.skip
                continue
            if holds:
                return rule.value
            at += 1
        return None
