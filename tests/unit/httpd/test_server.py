"""Who is let in to the HTTP server, and what it lets go."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

from mta.config.load import loads
from mta.httpd.server import HttpServer
from mta.testing.plugins import FakeClock, RecordingLog


def served(look, text=""):
    """Run ``look(server)`` on a server that nobody listens for."""

    async def run():
        config = loads(f"hostname: mx.example.test\n{text}", "mta.yaml").config
        ready = lambda: (True, {"problems": []})  # noqa: E731
        server = HttpServer(
            config=config, hooks=SimpleNamespace(routes=()), login=None, readiness=ready, clock=FakeClock(), log=RecordingLog()
        )
        try:
            return look(server)
        finally:
            await server.drain(0)

    return asyncio.run(run())


class Client:
    def __init__(self, ip):
        self.client_ip, self.id = ip, "c"

    def dismiss(self):
        pass

    def abort(self):
        pass


def test_one_client_has_a_bound_and_others_have_theirs():
    def look(server):
        first = [Client("192.0.2.1") for _ in range(3)]
        assert [server.join(one) for one in first] == [True, True, False]
        assert server.join(Client("192.0.2.2"))
        server.leave(first[2])  # it was never in
        assert not server.join(Client("192.0.2.1"))
        server.leave(first[0])
        assert server.join(Client("192.0.2.1"))

    served(look, "limits: {connections_per_client: 2}")


def test_loopback_relay_networks_and_unix_sockets_are_exempt():
    def look(server):
        for ip in ("127.0.0.1", "::1", "198.51.100.7", ""):
            assert all(server.join(Client(ip)) for _ in range(5)), ip
        assert server.connections == 20

    served(look, "limits: {connections_per_client: 1}\nrelay: {networks: [198.51.100.0/24]}")


def test_all_together_have_a_bound_and_nobody_comes_in_while_it_stops():
    def look(server):
        three = [Client(f"192.0.2.{n}") for n in range(3)]
        assert [server.join(one) for one in three] == [True, True, False]
        server.leave(three[0])
        server.draining = True
        assert not server.join(Client("192.0.2.9"))

    served(look, "limits: {connections: 2}")
