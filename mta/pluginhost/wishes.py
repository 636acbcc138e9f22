"""Which durable notifications a plugin wants: ``registry.notifications(choose)``, asked once its config is read.

Only for what somebody wants is an outbox row written, so a plugin that hears of bounces alone costs no row for each delivery.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Collection
from typing import Any

from mta.pluginhost.check import PluginRefused, nearest
from mta.pluginhost.specs import SPECS

Choose = Callable[[Any], Collection[str]]
EVENTS = "mailbox_event"
_EVENT = re.compile(r"[A-Z][A-Za-z]{2,40}\Z")  # RFC 5423 §4


def wishes_of(choose: Choose | None, config: Any) -> frozenset[str] | None:
    """Names of durable hooks and mailbox events; None: all that the plugin implements. Raises PluginRefused."""
    if choose is None:
        return None
    chosen = choose(config)
    if isinstance(chosen, str) or not all(isinstance(name, str) for name in chosen):
        raise PluginRefused(f"registry.notifications: names of hooks and mailbox events, not {chosen!r}")
    for name in chosen:
        if not _EVENT.match(name) and (name not in SPECS or SPECS[name].mode != "durable"):
            durable = [hook for hook, spec in SPECS.items() if spec.mode == "durable"]
            raise PluginRefused(f"registry.notifications: {name} is no durable hook and no mailbox event{nearest(name, durable)}")
    return frozenset(chosen)


def hears(wishes: frozenset[str] | None, hook: str, event: str = "") -> bool:
    """Whether a plugin with these wishes is told of the hook; of ``mailbox_event`` with this event, or with any."""
    if wishes is None or hook in wishes:
        return True
    return hook == EVENTS and (event in wishes if event else any(name not in SPECS for name in wishes))


def events_of(all_wishes: Collection[frozenset[str] | None]) -> frozenset[str] | None:
    """Mailbox events that any of those who hear of them wants; None: all."""
    if any(wishes is None or EVENTS in wishes for wishes in all_wishes):
        return None
    return frozenset(name for wishes in all_wishes if wishes for name in wishes if name not in SPECS)
