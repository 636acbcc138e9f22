"""Helper processes: a few, each with one question at a time, started when needed, ended when they do not answer.

A question that is cancelled or runs out of time ends its helper, for an answer that comes late would be that of the next question.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

RECYCLED = 1000
"""Questions; then a helper is replaced, because modules leak."""
STARTS_WITHIN = 10.0


class HelperDied(Exception):
    """It ended, or what it says makes no sense."""


class Helper:
    """One process. Not to be used again after an exception."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.asked = 0

    @classmethod
    async def start(cls, command: tuple[str, ...]) -> "Helper":
        """Raises OSError, HelperDied."""
        pipe = asyncio.subprocess.PIPE
        helper = cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True))
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                ready = await helper._read()
            if ready.get("ready") is not True:
                raise HelperDied(str(ready.get("detail", "it is not ready")))
        except TimeoutError as exc:
            helper.end()
            raise HelperDied(f"it is not ready within {STARTS_WITHIN:g} s") from exc
        except BaseException:
            helper.end()
            raise
        return helper

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises HelperDied, OSError."""
        self.asked += 1
        writer = self._process.stdin
        assert writer is not None
        writer.write(json.dumps({**question, "number": self.asked}).encode("ascii") + b"\n")
        await writer.drain()
        answer = await self._read()
        if answer.get("number") != self.asked:
            raise HelperDied("an answer to another question")
        return answer

    def end(self) -> None:
        """At once, and reaped by the event loop. One with more rights than ours ends with its input."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read(self) -> Mapping[str, Any]:
        reader = self._process.stdout
        assert reader is not None
        try:
            answer = json.loads(await reader.readuntil(b"\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as exc:
            raise HelperDied("the helper ended, or what it says makes no sense") from exc
        if not isinstance(answer, dict):
            raise HelperDied("what the helper says makes no sense")
        return answer


class Pool:
    """At most ``size`` helpers; more questions wait."""

    def __init__(self, command: tuple[str, ...], size: int) -> None:
        self._command = command
        self._free = asyncio.Semaphore(size)
        self._idle: list[Helper] = []
        self._busy: set[Helper] = set()

    async def start(self) -> None:
        """Start one, to see that it can. Raises OSError, HelperDied."""
        self._idle.append(await Helper.start(self._command))

    async def ask(self, question: Mapping[str, Any]) -> tuple[str, str]:
        """Return (answer, detail). Raises OSError, HelperDied; the caller sets the deadline."""
        async with self._free:
            while self._idle:
                helper = self._idle.pop()
                if helper.alive:
                    try:
                        return await self._ask(helper, question)
                    except (OSError, HelperDied):
                        break  # it may have died while it was idle: once more, with a new one
                helper.end()
            return await self._ask(await Helper.start(self._command), question)

    def close(self) -> None:
        for helper in (*self._idle, *self._busy):
            helper.end()
        self._idle.clear()

    async def _ask(self, helper: Helper, question: Mapping[str, Any]) -> tuple[str, str]:
        self._busy.add(helper)
        try:
            answer = await helper.ask(question)
        except BaseException:
            helper.end()
            raise
        finally:
            self._busy.discard(helper)
        if helper.asked < RECYCLED:
            self._idle.append(helper)
        else:
            helper.end()
        return str(answer.get("answer")), str(answer.get("detail", ""))
