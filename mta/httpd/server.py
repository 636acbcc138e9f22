"""The HTTP server of one worker: its connections, its clockwork."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import logging
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from uvicorn.config import Config as UvicornConfig
from uvicorn.server import ServerState

from mta.config.sections import Config
from mta.directory.login import Login
from mta.httpd.app import App
from mta.httpd.connection import Connection
from mta.net.listener import ListenerSpec
from mta.net.roster import Roster
from mta.obs.log import Log
from mta.obs.metrics import REQUESTS
from mta.pluginhost.routes import PluginRoute
from mta_hooks.services import Clock

_TICK = 1.0
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_CLASSES = tuple(f"{n}xx" for n in range(10))

Readiness = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the whole server is ready, and why not, as JSON."""


class Hooks(Protocol):
    @property
    def routes(self) -> Sequence[PluginRoute]: ...


class HttpServer:
    """Made once for each worker that has an http listener; ``factory`` gives the protocol for each listener."""

    def __init__(self, *, config: Config, hooks: Hooks, login: Login, readiness: Readiness, clock: Clock, log: Log) -> None:
        self.config = config
        self.hooks = hooks
        self.login = login
        self.readiness = readiness
        self.clock = clock
        self.log = log
        self.draining = False
        self.state = ServerState()
        self.quiet = logging.getLogger("mta.uvicorn")  # what it would say stands in our own log already
        self.quiet.disabled = True
        http = config.http
        self.uvicorn = UvicornConfig(
            App(self),
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=http.header_size,
            timeout_keep_alive=int(http.idle_timeout),
        )
        self.uvicorn.load()
        self._connections: Roster[Connection] = Roster(clock, _TICK)
        self._clients: dict[str, int] = {}
        self._exempt = (*map(ip_network, config.relay.networks), *_LOOPBACK)

    def factory(self, spec: ListenerSpec) -> Callable[[], asyncio.Protocol]:
        return lambda: Connection(self, spec)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def join(self, connection: Connection) -> bool:
        """A connection was made. False: there is no room for it."""
        limits, client = self.config.limits, connection.client_ip
        count = self._clients.get(client, 0)
        if self.draining or len(self._connections) >= limits.connections:
            return False
        if count >= limits.connections_per_client and not self._is_exempt(client):
            self.log.info("http.too_many_connections", session=connection.id, client=client)
            return False
        self._clients[client] = count + 1
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        client = connection.client_ip
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def _is_exempt(self, client: str) -> bool:
        """Proxies on this machine, and what may relay, speak for many; so does a Unix socket."""
        if not client:
            return True
        address = ip_address(client.partition("%")[0])
        return any(address in network for network in self._exempt)

    def count(self, status: int) -> None:
        """A request was answered."""
        REQUESTS[_CLASSES[status // 100]].value += 1

    async def drain(self, grace: float) -> None:
        """Take no new connections, end idle ones; requests at work have ``grace`` seconds; then cut off."""
        self.draining = True
        await self._connections.drain(grace)
