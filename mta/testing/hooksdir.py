"""A ``hooks_dir`` for tests, loaded into a strict host with fakes for services: what an administrator saves, and what comes of it.

    with HooksDir() as hooks:
        hooks.save("deliver.d/50-archive.sh", "#!/bin/sh\\ncat > /dev/null\\n")
        answer = hooks.run(lambda: hooks.host.deliver.first(recipient=…, sender=None, message=FakeMessage()))

The folder is one that every account can pass through, because programs run as another account when the tests run as root.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import shutil
import tempfile
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from mta.net.tasks import Tasks
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.health import PluginHealth
from mta.testing.plugins import RecordingLog, host_with

T = TypeVar("T")


class HooksDir:
    """``given`` goes to ``host_with``: services, options, strict."""

    def __init__(self, **given: Any) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mta-hooks-dir-", dir="/tmp"))
        self.path.chmod(0o755)
        self.log = RecordingLog()
        self.host = host_with(**{"log": self.log, **given})
        self._drop_ins = DropIns(self.host, str(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.host.stop()
        shutil.rmtree(self.path, ignore_errors=True)

    def save(self, name: str, text: str, mode: int | None = None) -> Path:
        """Write a file and have it loaded. Without ``mode``: 0755 for programs, 0644 for others."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.parent.chmod(0o755)
        new = file.with_name(f".{file.name}")
        new.write_text(textwrap.dedent(text), "utf-8")
        new.chmod((0o755 if "/" in name and not name.endswith(".yaml") else 0o644) if mode is None else mode)
        new.replace(file)  # another inode: seen as changed, however quick we are
        self._drop_ins.scan()
        return file

    def remove(self, name: str) -> None:
        os.unlink(self.path / name)
        self.scan()

    def scan(self) -> None:
        self._drop_ins.scan()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run in a loop of its own, with the host's deadlines in force."""

        async def main() -> T:
            tasks = Tasks(self.log)
            self.host.start(tasks)
            try:
                return await work()
            finally:
                await tasks.close()

        return asyncio.run(main())

    def reason(self, name: str) -> str:
        """Why this one does not run."""
        return self.host.failed[name].reason

    def health(self, name: str) -> PluginHealth:
        return next(h for h in self.host.health() if h.name == name)
