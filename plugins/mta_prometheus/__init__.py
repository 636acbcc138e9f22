"""``/metrics`` for Prometheus: the numbers of all workers together, in its text format 0.0.4 (OpenMetrics is not offered).

An ordinary route over ``registry.routes``; what it says is ``ctx.metrics()``.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import Context, hookimpl
from mta_hooks.http import HttpAnswer, HttpRequest, HttpRoute
from mta_hooks.services import Registry
from mta_prometheus.config import PrometheusConfig
from mta_prometheus.exposition import CONTENT_TYPE, render


@hookimpl
def register(registry: Registry) -> None:
    registry.config(PrometheusConfig)
    registry.routes(_routes)


def _routes(config: PrometheusConfig) -> list[HttpRoute]:
    return [HttpRoute("GET", config.path, scrape, access=config.access)]


def scrape(_request: HttpRequest, ctx: Context) -> HttpAnswer:
    return HttpAnswer(200, render(ctx.metrics()).encode(), CONTENT_TYPE)
