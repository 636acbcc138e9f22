"""Metrics: every one is documented, named as the field names them, and cheap to count."""
# SPDX-License-Identifier: Apache-2.0

import ast
import re
from pathlib import Path

import pytest

import mta.pipeline.pipeline  # noqa: F401  # whoever counts has been imported
from mta.obs import metrics
from mta_hooks.metrics import Histogram, Metric

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/operators/metrics.md").read_text(encoding="utf-8")


def documented():
    """{name: (kind, labels and text)} of the page's tables."""
    return {m[1]: (m[2], m[3]) for m in re.finditer(r"^\| `(mta_\w+)` \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)}


@pytest.mark.parametrize("declared", metrics.DECLARED.values(), ids=lambda d: d.name)
def test_every_metric_is_documented_as_it_is(declared):
    kind, text = documented()[declared.name]
    assert kind == declared.kind
    for label in declared.labels:
        assert re.search(rf"\b{label}\b", text), label
    begin = declared.help.split(",")[0].rstrip(".")[:20]
    assert begin in text


def test_nothing_is_documented_that_is_not_there():
    own = {name for name in documented() if not name.startswith("mta_sql_")}
    assert own == set(metrics.DECLARED)


def test_every_metric_of_our_plugins_is_documented():
    said = set()
    for file in (ROOT / "plugins").rglob("*.py"):
        plugin = file.relative_to(ROOT / "plugins").parts[0].removeprefix("mta_")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("metric", "Metric"):
                    said.add((plugin, f"mta_{plugin}_{node.args[0].value}"))
    assert said
    pages = {plugin: PAGE for plugin, _ in said}
    for plugin in pages:
        page = ROOT / f"docs/operators/{plugin}.md"
        pages[plugin] += page.read_text(encoding="utf-8") if page.exists() else ""
    assert [name for plugin, name in sorted(said) if f"`{name}" not in pages[plugin]] == []


def test_names_are_those_of_the_field():
    for name, declared in metrics.DECLARED.items():
        assert name.endswith("_total") == (declared.kind == "counter"), name
        assert (declared.kind == "histogram") == name.endswith("_seconds"), name
        assert declared.help.endswith("."), name


def test_a_family_counts_by_label_and_says_it():
    before = metrics.LOGINS["test", "ok"].value
    metrics.LOGINS["test", "ok"].value += 2
    found = [m for m in metrics.collect() if m.labels == {"protocol": "test", "result": "ok"}]
    assert [(m.name, m.value, m.kind) for m in found] == [("mta_logins_total", before + 2, "counter")]
    del metrics.LOGINS["test", "ok"]


def test_a_histogram_adds_up_from_below():
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        histogram.observe(value)
    metric = histogram.metric("x_seconds")
    assert metric.buckets == ((1.0, 2), (2.0, 3), (5.0, 3))
    assert (metric.count, metric.value) == (4, 102.0)


@pytest.mark.parametrize(
    "arguments",
    [{"name": "X_total"}, {"name": "x"}, {"name": "x_total", "labels": {"A": "b"}}, {"name": "x_total", "labels": {"a": "b" * 201}},
     {"name": ""}, {"name": "x-y", "kind": "gauge"}],
)  # fmt: skip
def test_what_cannot_be_a_metric_is_refused(arguments):
    with pytest.raises(ValueError, match=r"\w"):
        Metric(value=1, **arguments)
