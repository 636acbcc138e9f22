"""Sizes and times as people write them: "50 MiB", "5m", 300."""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import Annotated

from pydantic import BeforeValidator

_SIZES = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*\Z")


def _scaled(value: object, units: dict[str, float], example: str) -> object:
    if not isinstance(value, str):
        return value
    match = _FORM.match(value)
    if not match or match[2].lower() not in units:
        raise ValueError(f"must be a number with an optional unit ({', '.join(u for u in units if u)}), such as {example}")
    return float(match[1]) * units[match[2].lower()]


def parse_size(value: object) -> object:
    scaled = _scaled(value, {k: float(v) for k, v in _SIZES.items()}, "50 MiB")
    return int(scaled) if isinstance(scaled, float) and scaled.is_integer() else scaled


def parse_seconds(value: object) -> object:
    return _scaled(value, _TIMES, "5m")


def parse_rate(value: object) -> object:
    """Events a second."""
    if not isinstance(value, str):
        return value
    count, _, per = value.partition("/")
    try:
        scale = _TIMES[per.strip().lower()] if per.strip() else 1.0
        return float(count) / scale
    except (KeyError, ValueError):
        raise ValueError("must be a number for a time, such as 100/m (s, m, h, d)") from None


Size = Annotated[int, BeforeValidator(parse_size)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Rate = Annotated[float, BeforeValidator(parse_rate)]
