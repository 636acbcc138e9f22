"""The POP3 server of one worker: its connections, the locks on maildrops, its clockwork."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from mta.config.sections import Config
from mta.directory.login import Login
from mta.directory.sasl import Sasl
from mta.model.ids import MailboxId
from mta.net.listener import ListenerSpec
from mta.net.roster import Roster
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import CONNECTIONS
from mta.pipeline.reading import Readings
from mta.pluginhost.offers import Offering
from mta.pop3d.connection import Connection
from mta_hooks.backends import MailStore
from mta_hooks.services import Clock

_TICK = 5.0


class Hooks(Protocol):
    @property
    def smtp_connect(self) -> Any | None: ...
    @property
    def smtp_disconnect(self) -> Any | None: ...
    @property
    def message_read(self) -> Any | None: ...
    @property
    def mailbox_expunge(self) -> Any | None: ...
    @property
    def offering(self) -> Offering: ...


class Pop3Server:
    """Made once for each worker; ``factory`` gives the protocol for each listener."""

    def __init__(
        self,
        *,
        config: Config,
        hooks: Hooks,
        login: Login,
        store: MailStore,
        clock: Clock,
        log: Log,
        tls: ssl.SSLContext | None,
        tasks: Tasks,
    ) -> None:
        self.config = config
        self.hooks = hooks
        self.login = login
        self.sasl = Sasl("pop3", hooks, login, config.auth)
        self.store = store
        self.readings = Readings(hooks, lambda: self.store)
        self.clock = clock
        self.log = log
        self.tls = tls
        self.tasks = tasks
        self.draining = False
        self._connections: Roster[Connection] = Roster(clock, _TICK)
        self._locked: set[MailboxId] = set()

    def factory(self, listener: ListenerSpec) -> Callable[[], asyncio.Protocol]:
        return lambda: Connection(self, listener)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def join(self, connection: Connection) -> bool:
        """A connection was made. False: there is no room for it."""
        if self.draining or len(self._connections) >= self.config.limits.connections:
            return False
        self._connections.add(connection)
        CONNECTIONS["pop3"].value += 1
        return True

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def lock(self, mailbox: MailboxId) -> bool:
        """Take the exclusive lock of RFC 1939 §4, within this worker. False: another session has it."""
        if mailbox in self._locked:
            return False
        self._locked.add(mailbox)
        return True

    def unlock(self, mailbox: MailboxId) -> None:
        self._locked.discard(mailbox)

    async def drain(self, grace: float) -> None:
        """Take no new connections, end idle ones; those at work, or with messages to remove, have ``grace`` seconds; then cut off."""
        self.draining = True
        await self._connections.drain(grace)
