"""The text format: HELP and TYPE once for each name, a line for each sample, buckets that add up."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from mta_hooks.metrics import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(metrics: Iterable[Metric]) -> str:
    """Samples of one name are put together, in the order of the names."""
    lines: list[str] = []
    for name, found in groupby(sorted(metrics, key=lambda m: m.name), key=lambda m: m.name):
        samples = list(found)
        help = samples[0].help.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {name} {help}", f"# TYPE {name} {samples[0].kind}"]
        for sample in samples:
            lines += _lines(sample)
    return "\n".join(lines) + "\n"


def _lines(metric: Metric) -> Iterator[str]:
    if metric.kind != "histogram":
        yield f"{metric.name}{_labels(metric.labels)} {_number(metric.value)}"
        return
    for bound, count in metric.buckets:
        yield f"{metric.name}_bucket{_labels({**metric.labels, 'le': _number(bound)})} {count}"
    yield f"{metric.name}_bucket{_labels({**metric.labels, 'le': '+Inf'})} {metric.count}"
    yield f"{metric.name}_sum{_labels(metric.labels)} {_number(metric.value)}"
    yield f"{metric.name}_count{_labels(metric.labels)} {metric.count}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
