"""The health of plugins: every kind of answer, and none; changes in the log, the last answers in the file."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mta.app.health import EVERY, HealthWatch, read_health
from mta.testing.plugins import FakeClock, RecordingLog, host_with, plugin_of
from mta_hooks import Health, hookimpl


def plugin(name: str, answers: list[Any], on_error: Any = None) -> Any:
    @hookimpl(on_error=on_error)
    def health_check() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return plugin_of(health_check, name=name)


def test_every_plugin_has_a_state_and_changes_are_logged(tmp_path: Path) -> None:
    host = host_with(
        plugin("fine", [Health(), Health()]),
        plugin("slow", [Health("degraded", "queue of 900"), Health()]),
        plugin("broken", [ValueError("secret"), ValueError("secret")]),
        plugin("silent", [None, None]),
    )
    clock, log, file = FakeClock(), RecordingLog(), tmp_path / "health.json"
    watch = HealthWatch(host, file, clock, log)
    asyncio.run(watch.look())
    states = {name: health["state"] for name, health in read_health(file, clock.now()).items()}
    assert states == {"fine": "ok", "slow": "degraded", "broken": "failed", "silent": "failed"}
    assert read_health(file, clock.now())["slow"]["text"] == "queue of 900"
    assert "secret" not in file.read_text()
    assert [(line["plugin"], line["state"]) for line in log.named("plugin.health")] == [
        ("slow", "degraded"),
        ("broken", "failed"),
        ("silent", "failed"),
    ]
    log.lines.clear()
    asyncio.run(watch.look())
    assert [(line["plugin"], line["state"]) for line in log.named("plugin.health")] == [("slow", "ok")]
    assert read_health(file, clock.now() + 5 * EVERY) == {}, "too old to be believed"


def test_a_plugin_that_stops_at_failures_is_named(tmp_path: Path) -> None:
    host = host_with(plugin("fine", [Health()]), plugin("strict", [ValueError("x")], on_error="defer"))
    clock, file = FakeClock(), tmp_path / "health.json"
    asyncio.run(HealthWatch(host, file, clock, RecordingLog()).look())
    assert {name: health["state"] for name, health in read_health(file, clock.now()).items()} == {"strict": "failed"}


def test_no_plugin_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "health.json"
    file.write_text("{}")
    asyncio.run(HealthWatch(host_with(), file, FakeClock(), RecordingLog()).look())
    assert not file.exists()
    assert read_health(file, 0.0) == {}


def test_a_state_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="degraded"):
        Health("unwell")
