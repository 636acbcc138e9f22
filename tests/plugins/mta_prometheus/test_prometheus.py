"""The text format, and the route that serves it."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

import mta_prometheus
from mta.testing.plugins import FakeSession, host_with
from mta_hooks.http import HttpRequest
from mta_hooks.metrics import Histogram, Metric
from mta_prometheus.exposition import render


def test_names_have_one_head_and_samples_stand_together():
    text = render(
        [
            Metric("b", 1.5, "gauge", "B."),
            Metric("a_total", 1, help="A.", labels={"x": "1"}),
            Metric("a_total", 2, labels={"x": "2"}),
        ]
    )
    assert text.splitlines() == [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        'a_total{x="1"} 1',
        'a_total{x="2"} 2',
        "# HELP b B.",
        "# TYPE b gauge",
        "b 1.5",
    ]


def test_a_histogram_has_growing_buckets_infinity_sum_and_count():
    histogram = Histogram((0.5, 1))
    for value in (0.1, 0.7, 3):
        histogram.observe(value)
    assert render([histogram.metric("h_seconds", labels={"p": "x"})]).splitlines()[2:] == [
        'h_seconds_bucket{p="x",le="0.5"} 1',
        'h_seconds_bucket{p="x",le="1"} 2',
        'h_seconds_bucket{p="x",le="+Inf"} 3',
        'h_seconds_sum{p="x"} 3.8',
        'h_seconds_count{p="x"} 3',
    ]


def test_what_would_break_a_line_is_escaped():
    text = render([Metric("a", 1, "gauge", "back\\slash\nline", {"x": 'quo"te\n\\'})])
    assert text == '# HELP a back\\\\slash\\nline\n# TYPE a gauge\na{x="quo\\"te\\n\\\\"} 1\n'


@pytest.mark.parametrize(
    ("given", "path", "access"), [({}, "/metrics", "admin"), ({"path": "/m", "access": "public"}, "/m", "public")]
)
def test_the_route_is_as_configured_and_shows_the_servers_numbers(given, path, access):
    host = host_with(mta_prometheus, config=given, metrics=lambda: [Metric("mta_x_total", 3)])
    (route,) = host.routes
    assert (route.method, route.path, route.access) == ("GET", path, access)
    answer = asyncio.run(route.ask(HttpRequest("GET", path, {}, (), {}, b"", FakeSession())))
    assert answer.status == 200
    assert b"mta_x_total 3\n" in answer.body
