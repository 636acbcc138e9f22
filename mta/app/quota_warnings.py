"""Mail to whose account comes near its quota: once for each level of ``quota.warn``, when it is reached.

The store notices, in the transaction that crosses the level; the mail is sent beside it. A crash within that moment loses a warning.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mta.model.directory import User
from mta.model.errors import MailError
from mta.model.ids import UserId
from mta.model.quota import Usage
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta_hooks.backends import Database, extras_of

Send = Callable[[str, str | None, Sequence[str], bytes], Awaitable[str]]


class QuotaWarnings:
    def __init__(self, *, database: Database, send: Send, hostname: str, hooks: Any, tasks: Tasks, log: Log) -> None:
        self._database, self._send, self._hostname = database, send, hostname
        self._hooks, self._tasks, self._log = hooks, tasks, log

    def reached(self, user: UserId, level: int) -> None:
        """Called in the loop after the commit."""
        self._tasks.spawn(self._warn(user, level), "quota.warning")

    async def _warn(self, number: UserId, level: int) -> None:
        try:
            quotas = extras_of(self._database.store).quotas
            user = await self._database.directory.user_by_id(number)
            if user is None or quotas is None:
                return
            usage = await quotas.usage(number)
            self._log.info("quota.warning", user=str(user.address), level=level, used=usage.octets, messages=usage.messages)
            if self._hooks.mailbox_event is not None:
                self._hooks.occurrences.tell("QuotaWarning", str(user.address), level=level)
            await self._send("mta", None, [str(user.address)], compose(user, usage, level, self._hostname))
        except MailError as exc:
            self._log.warning("quota.warning_failed", user=int(number), level=level, detail=str(exc))


def compose(user: User, usage: Usage, level: int, hostname: str) -> bytes:
    """The mail. Date and Message-ID are added where it is taken in."""
    held = []
    if usage.octets_limit:
        held.append(f"  {_mib(usage.octets)} of {_mib(usage.octets_limit)} MiB")
    if usage.messages_limit:
        held.append(f"  {usage.messages} of {usage.messages_limit} messages")
    lines = [
        f"From: Mail server <postmaster@{hostname}>",
        f"To: <{user.address}>",
        f"Subject: Your mailbox is {level} % full",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        f"The mailboxes of {user.address} hold",
        "",
        *held,
        "",
        "When that is reached, new mail is sent back to who sent it. Delete what you no longer need,",
        "and empty the trash, or ask for more room.",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8")


def _mib(octets: int) -> str:
    return f"{octets / 2**20:.1f}"
