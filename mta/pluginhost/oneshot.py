"""A program that is started for each call of its hook: standard input, descriptor 3, environment, limits; then its answer."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
from collections import deque
from collections.abc import Mapping
from typing import Any

from mta.model.address import Address
from mta.pluginhost.call import Outside
from mta.pluginhost.confine import Account, Confinement, account_of_recipient, credentials
from mta.pluginhost.crossing import arguments_out
from mta.pluginhost.exits import Finished, answer_of
from mta.pluginhost.exported import environment
from mta.pluginhost.handover import message_file, octets_file
from mta.pluginhost.jsonlines import VERSION, encode_line
from mta.pluginhost.launcher import Command, Launcher
from mta.pluginhost.output import Output
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.specs import Spec

AT_ONCE = 8
"""Programs of one hook file that run at the same time; more calls wait, on their own time."""
MOST_OUTPUT, MOST_ERRORS = 2**20, 2**16
_FOR_RECIPIENTS = ("deliver", "mailbox_deliver")


class Slots:
    """At most ``AT_ONCE`` at a time, in order. Not bound to a loop, as asyncio.Semaphore is."""

    def __init__(self) -> None:
        self._free = AT_ONCE
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done() and not place.get_loop().is_closed():
                place.set_result(None)
                return
        self._free += 1


class OneShot:
    """``check``: raises Outside when the file may not be run any more; asked before each call."""

    def __init__(
        self, spec: Spec, path: str, plugin: Plugin, launcher: Launcher, confinement: Confinement, account: Account
    ) -> None:
        self._spec, self._path, self._plugin, self._launcher = spec, path, plugin, launcher
        self._account = account
        self._fixed = bool(confinement.user)
        self._limits = confinement.limits(one_shot=True)
        self._slots = Slots()

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """The hook's answer. Raises Outside, TemporaryFailure. Cancelled: the program and its group are killed."""
        async with self._slots:
            account = await self._account_for(arguments)
            given = arguments_out(arguments)
            context = {
                "version": VERSION,
                "hook": self._spec.name,
                "plugin": self._plugin.name,
                "config": dict(self._plugin.context.config or {}),
                "args": given,
            }
            message = arguments.get("message")
            if message is not None:
                given["message"]["headers"] = message.headers
            files = [octets_file(encode_line(context))]
            try:
                files.append(await message_file(message, self._plugin.pool) if message is not None else octets_file(b""))
                done = await self._run(files[1], files[0], self._environment(arguments, account), account, message)
            finally:
                for fd in files:
                    os.close(fd)
        return answer_of(self._spec, done, arguments)

    def _environment(self, arguments: Mapping[str, Any], account: Account) -> dict[str, str]:
        return environment(self._spec.name, arguments, account, self._plugin.context.hostname)

    async def _account_for(self, arguments: Mapping[str, Any]) -> Account:
        """The recipient's own account where the recipient is one of this machine's people, else the one for hooks."""
        recipient = arguments.get("recipient")
        if self._fixed or self._spec.name not in _FOR_RECIPIENTS or not isinstance(recipient, Address):
            return self._account
        if recipient.domain not in (self._plugin.context.hostname, "localhost", ""):
            return self._account
        base = recipient.local.partition("+")[0]
        return await self._plugin.pool.run(account_of_recipient, base, self._launcher) or self._account

    async def _run(self, stdin: int, context: int, env: Mapping[str, str], account: Account, message: Any) -> Finished:
        most = MOST_OUTPUT + (2 * message.size if message is not None and self._spec.name == "message_modify" else 0)
        out, err = Output(most), Output(MOST_ERRORS)
        ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

        def end(error: str, status: int) -> None:
            if not ended.done():
                ended.set_result((error, status))

        command = Command((self._path, self._spec.name), env, credentials(account), self._limits)
        number = 0
        try:
            number = self._launcher.start(command, (stdin, out.writing, err.writing, context), end)
            for output in (out, err):
                output.given()
                output.attach()
            error, status = await ended
        finally:
            if not ended.done() or ended.cancelled():
                self._launcher.kill(number)
            out.close()
            err.close()
        if out.full:
            raise Outside(f"wrote more than {most} octets")
        return Finished(error, status, bytes(out.data), bytes(err.data))
