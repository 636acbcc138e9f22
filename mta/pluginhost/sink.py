"""The objects of ``message_sink``: their two methods as steps, so that time, errors and breaker are the plugin's as in a hook."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from collections.abc import Callable
from typing import Any

from mta.pluginhost.specs import SPECS, Spec
from mta.pluginhost.step import Step, place_of_code

_FEED = dataclasses.replace(SPECS["message_sink"], arguments=("octets",), allowed=frozenset(), answers=())
CLOSE = dataclasses.replace(SPECS["message_sink"], arguments=(), mode="verdict", answers=())


def feed_step(made_by: Step, method: Callable[[bytes], Any]) -> Step:
    """``feed`` as a step with the one argument "octets", whatever the method calls it."""

    def feed(octets: bytes) -> Any:
        return method(octets)

    return _like(made_by, _FEED, feed, method)


def close_step(made_by: Step, method: Callable[[], Any]) -> Step:
    def close() -> Any:
        return method()

    return _like(made_by, CLOSE, close, method)


def _like(made_by: Step, spec: Spec, function: Callable[..., Any], method: Callable[..., Any]) -> Step:
    step = Step(spec, made_by.plugin, function)
    step.on_error, step.timeout, step.when = made_by.on_error, made_by.timeout, None
    step.file, step.line = place_of_code(method)
    return step
