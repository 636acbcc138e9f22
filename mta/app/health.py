"""What plugins say of their health: asked every half minute by the worker that holds the dispatch lock, kept for ``mta doctor``.

run/health.json holds the last answers: {"at": seconds, "plugins": {name: {"state", "text"}}}. The log has a line for each change.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.host import HookHost
from mta_hooks.results import Health
from mta_hooks.services import Clock

EVERY = 30.0
_LONGEST = 300
"""Characters of one plugin's words."""
SILENT = Health("failed", "no answer: the log says why")


class HealthWatch:
    """``run`` is spawned once."""

    def __init__(self, hooks: HookHost, file: Path, clock: Clock, log: Log) -> None:
        self._hooks, self._file, self._clock, self._log = hooks, file, clock, log
        self._states: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(EVERY)

    async def look(self) -> None:
        """Ask once. A plugin that failed, waited too long or said nothing has failed."""
        found: dict[str, Health] = {}
        if (plan := self._hooks.health_check) is not None:
            found = dict.fromkeys((step.plugin.name for step in plan.steps), SILENT)
            try:
                found.update(await plan.all())
            except TemporaryFailure as exc:  # one that insists on stopping at its failure: of the others nothing is known now
                name = str(exc).partition(":")[0]
                found = {name: SILENT}
        for name, health in found.items():
            if health.state != self._states.get(name, "ok"):
                tell = self._log.info if health.state == "ok" else self._log.warning
                tell("plugin.health", plugin=name, state=health.state, text=health.text[:_LONGEST])
        self._states = {name: health.state for name, health in found.items()}
        self._keep(found)

    def _keep(self, found: Mapping[str, Health]) -> None:
        if not found:
            with suppress(OSError):
                self._file.unlink()
            return
        plugins = {name: {"state": health.state, "text": health.text[:_LONGEST]} for name, health in found.items()}
        new = self._file.with_suffix(".new")
        try:
            new.write_text(json.dumps({"at": self._clock.now(), "plugins": plugins}), encoding="utf-8")
            os.replace(new, self._file)
        except OSError as exc:
            self._log.warning("plugin.health", plugin="", state="unknown", text=f"{self._file}: {exc.strerror}")


def read_health(file: Path, now: float) -> dict[str, dict[str, Any]]:
    """The last answers, by plugin; none when nobody was asked lately."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    plugins: dict[str, dict[str, Any]] = kept["plugins"] if now - kept["at"] < 4 * EVERY else {}
    return plugins
