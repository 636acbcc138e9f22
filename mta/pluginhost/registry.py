"""What a plugin offers in ``register``; fulfils mta_hooks.services.Registry."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mta.pluginhost.capabilities import Capability, check_arguments, make_capability
from mta.pluginhost.check import PluginRefused
from mta_hooks.backends.tables import Migration, Schema
from mta_hooks.http import HttpRoute
from mta_hooks.sasl import Mechanism
from mta_hooks.services import BackendFactory, Job, Metrics, Routes, Service

if TYPE_CHECKING:
    import click
    from sqlalchemy import MetaData

_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}\Z")  # RFC 4422 §3.1
RECEIVED = ("session", "transaction", "field")
"""The arguments of ``received_header``."""
_OURS = ("PLAIN", "LOGIN", "EXTERNAL")


@dataclass(frozen=True, slots=True)
class JobOffer:
    """Run ``run(ctx)`` every so many seconds; ``single``: on one worker only."""

    name: str
    every: float
    run: Job
    single: bool


@dataclass(frozen=True, slots=True)
class ServiceOffer:
    """Run ``run(ctx)`` as long as the worker lives; ``single``: on one worker only."""

    name: str
    run: Service
    single: bool


@dataclass(slots=True)
class Offers:
    """One plugin's offers."""

    model: type[BaseModel] | None = None
    backends: dict[tuple[str, str], BackendFactory] = field(default_factory=dict)
    jobs: list[JobOffer] = field(default_factory=list)
    choose: Callable[[Any], Collection[str]] | None = None
    services: list[ServiceOffer] = field(default_factory=list)
    command: "click.Command | None" = None
    schemas: Schema | None = None
    mechanisms: dict[str, type[Mechanism]] = field(default_factory=dict)
    capabilities: list[Capability] = field(default_factory=list)
    route_offers: list[Routes] = field(default_factory=list)
    metrics_functions: list[Metrics] = field(default_factory=list)
    received: Callable[..., str | None] | None = None

    def config(self, model: type[Any]) -> None:
        if not issubclass(model, BaseModel):
            raise PluginRefused(f"registry.config takes a pydantic model, not {model!r}")
        self.model = model

    def backend(self, kind: str, scheme: str, factory: BackendFactory) -> None:
        if (kind, scheme) in self.backends:
            raise PluginRefused(f"registers the {kind} backend {scheme} twice")
        self.backends[kind, scheme] = factory

    def job(self, name: str, every: float, run: Job, *, single: bool = True) -> None:
        if not every > 0:
            raise PluginRefused(f"job {name}: every must be more than 0 seconds, not {every!r}")
        self.jobs.append(JobOffer(name, float(every), run, single))

    def notifications(self, choose: Callable[[Any], Collection[str]]) -> None:
        if self.choose is not None:
            raise PluginRefused("registry.notifications: once for each plugin")
        if not callable(choose):
            raise PluginRefused(f"registry.notifications takes a function of the config, not {choose!r}")
        self.choose = choose

    def capability(
        self,
        protocol: Any,
        keyword: Any,
        *,
        params: str = "",
        commands: Mapping[str, Any] | None = None,
        mail: Mapping[str, Any] | None = None,
        rcpt: Mapping[str, Any] | None = None,
        before_login: bool = False,
    ) -> None:
        self.capabilities.append(make_capability(protocol, keyword, params, commands or {}, mail or {}, rcpt or {}, before_login))

    def sasl(self, mechanism: Any) -> None:
        name = getattr(mechanism, "name", None)
        if not isinstance(mechanism, type) or not callable(getattr(mechanism, "step", None)):
            raise PluginRefused(f"registry.sasl takes a class with a method step, not {mechanism!r}")
        if not isinstance(name, str) or not _MECHANISM.match(name):
            raise PluginRefused(f"{mechanism.__name__}: name must be a SASL mechanism in upper case, not {name!r}")
        if not isinstance(getattr(mechanism, "needs_tls", None), bool) or not isinstance(
            getattr(mechanism, "server_first", None), bool
        ):
            raise PluginRefused(f"{mechanism.__name__}: needs_tls and server_first must be True or False")
        if name in _OURS or name in self.mechanisms:
            raise PluginRefused(f"brings the SASL mechanism {name}, which is there already")
        self.mechanisms[name] = mechanism

    def cli(self, command: "click.Command") -> None:
        import click

        if not isinstance(command, click.Command):
            raise PluginRefused(f"registry.cli takes a command or group of click, not {command!r}")
        if self.command is not None:
            raise PluginRefused("registry.cli: one command; make it a group")
        self.command = command

    def schema(self, metadata: "MetaData", migrations: Sequence[Migration] = ()) -> None:
        from sqlalchemy import MetaData

        if not isinstance(metadata, MetaData):
            raise PluginRefused(f"registry.schema takes a MetaData of SQLAlchemy, not {metadata!r}")
        if self.schemas is not None:
            raise PluginRefused("registry.schema: one for each plugin")
        self.schemas = Schema(metadata, tuple(migrations))

    def service(self, name: str, run: Service, *, single: bool = False) -> None:
        if any(offer.name == name for offer in self.services):
            raise PluginRefused(f"registers the service {name} twice")
        if not callable(run):
            raise PluginRefused(f"service {name}: takes a coroutine function, not {run!r}")
        self.services.append(ServiceOffer(name, run, single))

    def received_header(self, write: Callable[..., str | None]) -> None:
        if self.received is not None:
            raise PluginRefused("registry.received_header: once for each plugin")
        if not callable(write):
            raise PluginRefused(f"registry.received_header takes a function, not {write!r:.80}")
        check_arguments("registry.received_header", write, RECEIVED)
        self.received = write

    def routes(self, routes: Routes) -> None:
        if not callable(routes):
            _routes(routes)
        self.route_offers.append(routes)

    def made_routes(self, config: Any) -> list[HttpRoute]:
        """All of them; ``config`` is for those that depend on it. Raises PluginRefused."""
        return [route for offer in self.route_offers for route in _routes(offer(config) if callable(offer) else offer)]

    def metrics(self, metrics: Metrics) -> None:
        if not callable(metrics):
            raise PluginRefused(f"registry.metrics takes a function, not {metrics!r}")
        self.metrics_functions.append(metrics)


def _routes(given: Any) -> Sequence[HttpRoute]:
    if not isinstance(given, list | tuple) or not all(isinstance(route, HttpRoute) for route in given):
        raise PluginRefused(f"registry.routes takes a list of HttpRoute, or a function that makes one, not {given!r:.200}")
    return given
