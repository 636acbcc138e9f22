"""Mailbox events that no change of a mailbox carries (RFC 5423 §4.1, §4.3): QuotaExceed, Login, Logout, by rows of their own.

The row is written beside the session, which does not wait for it: whoever logs in is not slowed, and a crash within that moment
loses the event, nothing else.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.model.errors import MailError
from mta.model.ids import UserId
from mta.model.message import Notification
from mta.net.tasks import Tasks
from mta.pluginhost.context import Services
from mta.pluginhost.durable import payload_of
from mta_hooks.views import MailboxEvent

MOST = 1000
"""Events that wait to be written; further ones are dropped, and the log says so."""


class Occurrences:
    def __init__(self, services: Services) -> None:
        self.tasks: Tasks | None = None
        self._services = services
        self._waiting = 0

    def tell(self, event: str, user: str | UserId, *, mailbox: str = "", queue_id: str = "", **details: Any) -> None:
        """Asked for by whoever knows that somebody implements ``mailbox_event``. ``user``: address, or the account's id."""
        services, tasks = self._services, self.tasks
        if services.outbox is None or tasks is None:
            return
        if self._waiting >= MOST:
            services.log.warning("event.dropped", event_name=event, user=str(user))
            return
        self._waiting += 1
        tasks.spawn(self._write(event, user, mailbox, queue_id, details), "mailbox-event")

    async def _write(self, event: str, user: str | UserId, mailbox: str, queue_id: str, details: dict[str, Any]) -> None:
        services = self._services
        try:
            if not isinstance(user, str):
                account = None if services.account is None else await services.account(user)
                if account is None:
                    return
                user = str(account.address)
            record = MailboxEvent(event, user, mailbox, services.clock.now(), queue_id=queue_id, details=details)
            if services.outbox is not None:
                await services.outbox.add([Notification("mailbox_event", payload_of(record))])
        except MailError as exc:
            services.log.warning("event.dropped", event_name=event, user=str(user), problem=str(exc))
        finally:
            self._waiting -= 1
