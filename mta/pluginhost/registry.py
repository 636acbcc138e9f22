"""What a plugin offers in ``register``; fulfils mta_hooks.services.Registry."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from mta.pluginhost.check import PluginRefused
from mta_hooks.services import BackendFactory, Job


@dataclass(frozen=True, slots=True)
class JobOffer:
    """Run ``run(ctx)`` every so many seconds; ``single``: on one worker only."""

    name: str
    every: float
    run: Job
    single: bool


@dataclass(slots=True)
class Offers:
    """One plugin's offers."""

    model: type[BaseModel] | None = None
    backends: dict[tuple[str, str], BackendFactory] = field(default_factory=dict)
    jobs: list[JobOffer] = field(default_factory=list)

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
