"""``when`` of a drop-in hook: which recipients, senders and doors it is for. Patterns are those of the shell, case does not matter."""
# SPDX-License-Identifier: Apache-2.0

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mta.pluginhost.check import PluginRefused, nearest
from mta.pluginhost.specs import Spec
from mta_hooks.markers import HookOptions

_RECIPIENTS: dict[str, Callable[[Any], Iterable[str]]] = {
    "recipient": lambda r: (str(r),),
    "recipients": lambda rs: [str(r.address) for r in rs],
    "address": lambda a: (str(a),),
    "record": lambda r: (r.recipient,),
    "event": lambda e: (e.user,),
    "envelope": lambda e: [str(r) for r in e.recipients],
    "envelopes": lambda es: [str(r) for e in es for r in e.recipients],
}
_SENDERS: dict[str, Callable[[Any], Iterable[str]]] = {
    "sender": lambda s: ("" if s is None else str(s),),
    "transaction": lambda t: ("" if t.sender is None else str(t.sender),),
    "message": lambda m: ("" if m is None or m.sender is None else str(m.sender),),
    "record": lambda r: (r.sender,),
    "envelope": lambda e: ("" if e.sender is None else str(e.sender),),
}
_PROTOCOLS: dict[str, Callable[[Any], Iterable[str]]] = {
    "session": lambda s: (s.protocol,),
    "message": lambda m: (m.origin,),
    "transaction": lambda t: (t.origin,),
    "record": lambda r: (r.origin,),
    "envelope": lambda e: (e.origin,),
}
_FIELDS = {"recipient": _RECIPIENTS, "sender": _SENDERS, "protocol": _PROTOCOLS}


class When:
    """All given conditions must hold; of several patterns one, of several recipients one. The null sender is ""."""

    def __init__(self, conditions: Mapping[str, Any]) -> None:
        self._patterns: dict[str, Callable[[str], object]] = {}
        for name, wanted in conditions.items():
            if name not in _FIELDS:
                raise PluginRefused(f"when.{name}: unknown condition{nearest(name, _FIELDS)}")
            words = [wanted] if isinstance(wanted, str) else wanted
            if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
                raise PluginRefused(f'when.{name}: a pattern such as "*@example.org", or a list of them')
            self._patterns[name] = re.compile("|".join(fnmatch.translate(w) for w in words), re.IGNORECASE).match

    def refuse_for(self, spec: Spec) -> None:
        """Raises PluginRefused when the hook's arguments cannot tell what a condition asks for."""
        for name in self._patterns:
            if not _FIELDS[name].keys() & set(spec.arguments):
                raise PluginRefused(f"when.{name} cannot be used with {spec.name}, which has no {name}")

    def __call__(self, arguments: Mapping[str, Any]) -> bool:
        return all(self._matches(name, match, arguments) for name, match in self._patterns.items())

    def wants(self, recipient: str) -> bool:
        match = self._patterns.get("recipient")
        return match is None or match(recipient) is not None

    def _matches(self, name: str, match: Callable[[str], object], arguments: Mapping[str, Any]) -> bool:
        for argument, values in _FIELDS[name].items():
            if argument in arguments:
                return any(match(value) for value in values(arguments[argument]))
        return False


class Declared:
    """What an implementation declares to be asked for (``types``, ``verbs``), in front of the plugin's own conditions."""

    def __init__(self, options: HookOptions, when: When | None) -> None:
        self._types = frozenset(options.types)
        self._verbs = frozenset(options.verbs)
        self._when = when

    def __call__(self, arguments: Mapping[str, Any]) -> bool:
        if self._types:
            kind: str = arguments["part"].content_type
            if not self._types & {kind, f"{kind.partition('/')[0]}/*", "*/*"}:
                return False
        if self._verbs:
            verb: str = arguments["verb"] if "verb" in arguments else arguments["command"].verb
            if verb not in self._verbs:
                return False
        return self._when is None or self._when(arguments)

    def wants(self, recipient: str) -> bool:
        return self._when is None or self._when.wants(recipient)


def conditions_of(options: HookOptions, when: When | None) -> When | Declared | None:
    return Declared(options, when) if options.types or options.verbs else when
