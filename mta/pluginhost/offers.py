"""The offers of all plugins together, as the servers use them: SASL mechanisms by name, in the order of the config."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mta.pluginhost.call import Dispatcher
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.offered import Offered
from mta.pluginhost.plugin import Plugin
from mta_hooks.sasl import Mechanism

_SASL_TIMEOUT = 60.0
"""Seconds of one step: a throttled client waits inside it."""

Advance = Callable[[bytes | None, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class OfferedMechanism:
    """``call(function, response)`` calls ``function(response, ctx)`` as the plugin's."""

    mechanism: type[Mechanism]
    call: Offered


async def _advance(function: Advance, response: bytes | None, ctx: Any) -> Any:
    return await function(response, ctx)


@dataclass(frozen=True, slots=True)
class Offering:
    """Made anew whenever the set of plugins changes."""

    mechanisms: Mapping[str, OfferedMechanism] = field(default_factory=dict)

    @classmethod
    def of(cls, plugins: Mapping[str, Plugin], dispatcher: Dispatcher) -> "Offering":
        """Raises PluginRefused for something that two plugins bring."""
        mechanisms: dict[str, OfferedMechanism] = {}
        for plugin in sorted(plugins.values(), key=lambda p: p.place):
            for name, mechanism in plugin.offers.mechanisms.items():
                if name in mechanisms:
                    raise PluginRefused(f"brings the SASL mechanism {name}, and so does {mechanisms[name].call.plugin}")
                call = Offered(dispatcher, plugin, f"sasl {name}", _advance, (), timeout=_SASL_TIMEOUT, written=mechanism.step)
                mechanisms[name] = OfferedMechanism(mechanism, call)
        return cls(mechanisms)
