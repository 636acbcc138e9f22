"""One plugin as the host knows it: where it came from, what it asked for, how it fares."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mta.config.sections import HooksSection
from mta.pluginhost.breaker import Breaker
from mta.pluginhost.registry import Offers
from mta.pluginhost.threads import Pool
from mta.pluginhost.when import When
from mta_hooks.markers import OnError

Kind = Literal["package", "drop-in", "executable", "built-in"]


class Process(Protocol):
    """What answers for a plugin outside the server's process."""

    @property
    def trouble(self) -> str:
        """For the health; "" when all is well."""
        ...

    def retire(self) -> None:
        """The plugin is replaced or gone: end when what was asked is answered."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Bounds of what a plugin may do to us.

    block_seconds   longest stall of the event loop that is not held against a plugin
    block_limit     stalls, not more than ``block_window`` apart, after which its ``def`` functions run in threads
    breaker_errors  errors in a row within ``breaker_window`` seconds that open the circuit breaker for ``breaker_pause`` seconds
    threads         threads of one plugin
    """

    block_seconds: float = 0.05
    block_limit: int = 3
    block_window: float = 600.0
    breaker_errors: int = 5
    breaker_window: float = 60.0
    breaker_pause: float = 30.0
    threads: int = 4

    @classmethod
    def of(cls, hooks: HooksSection) -> "HostOptions":
        """From the config's section ``hooks``."""
        return cls(block_seconds=hooks.stall, block_limit=hooks.stalls, breaker_errors=hooks.errors, breaker_pause=hooks.pause)


@dataclass(slots=True)
class Counter:
    """Calls of one hook of one plugin."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    blocked: int = 0
    last_error: str = ""
    last_error_at: float = 0.0


@dataclass(slots=True, eq=False)
class Plugin:
    """``object`` is the module or instance with the implementations.

    place        rank in the config's list; drop-ins come after all listed, built-ins last
    troubles     of its services, by name: why each one is not running
    wishes       durable notifications that it wants; None: all that it implements
    aside        circuit breakers of what is not on the road of mail, its routes and metrics: a stranger who makes a route fail does
                 not switch off the hooks
    on_error, timeout, before, after, when   what the config or NAME.yaml says; None or empty: ask the function, then the hook
    """

    name: str
    object: Any
    kind: Kind
    place: int
    breaker: Breaker
    pool: Pool
    path: str = ""
    version: str = ""
    roles: tuple[str, ...] = ()
    required: bool = False
    on_error: OnError | None = None
    timeout: float | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    when: When | None = None
    offers: Offers = field(default_factory=Offers)
    wishes: frozenset[str] | None = None
    context: Any = None
    threaded: bool = False
    stalls: int = 0
    last_stall: float = 0.0
    counters: dict[str, Counter] = field(default_factory=dict)
    process: Process | None = None
    metric_steps: tuple[Any, ...] = ()
    aside: dict[str, Breaker] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    @property
    def known_as(self) -> frozenset[str]:
        return frozenset((self.name, *self.roles))

    def counter(self, hook: str) -> Counter:
        return self.counters.setdefault(hook, Counter())


def make_plugin(name: str, object: Any, kind: Kind, place: int, options: HostOptions) -> Plugin:
    errors = 0 if kind == "built-in" else options.breaker_errors  # without the directory nothing works: better to go on asking
    breaker = Breaker(errors, options.breaker_window, options.breaker_pause)
    roles = getattr(object, "roles", ())
    return Plugin(
        name,
        object,
        kind,
        place,
        breaker,
        Pool(name, options.threads),
        path=str(getattr(object, "__file__", "") or ""),
        roles=(roles,) if isinstance(roles, str) else tuple(roles),
    )
