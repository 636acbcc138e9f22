"""A queue that really delivers: memory database, real resolver and sockets, sinks on 127.0.0.x, a clock that can be turned."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import itertools
import time

import pytest
import trustme

from mta.config.sections import Config
from mta.directory.builtin import DirectoryPlugin
from mta.directory.passwords import Passwords
from mta.directory.resolve import Resolver
from mta.dispatch.runner import Runner
from mta.local.transport import LocalTransport
from mta.model.address import Address
from mta.model.ids import ModSeq, QueueId
from mta.model.message import Intake, OctetContent, QueuedRecipient
from mta.net.dialer import Dialer
from mta.net.dns import DnsResolver
from mta.net.tasks import Tasks
from mta.outbound.courier import Outbound
from mta.pluginhost.section import validate
from mta.route.router import Router
from mta.testing.dns import DnsServer
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import FakeHttp, RecordingLog, host_with, plugin_of
from mta.testing.server import free_port
from mta.testing.sink import Sink
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.queue import QueueFilter

OCTETS = (
    b"Return-Path: <bob@here.test>\r\nFrom: bob@here.test\r\nSubject: hello\r\nMessage-ID: <m1@here.test>\r\n\r\n.dot\r\nbody\r\n"
)
SKIP = OCTETS.index(b"From:")
_ids = itertools.count(1)


class TurnedClock:
    """The real clocks plus what ``turn`` added to both, or ``jump`` to the wall clock alone."""

    def __init__(self):
        self.wall = self.steady = 0.0

    def now(self):
        return time.time() + self.wall

    def monotonic(self):
        return time.monotonic() + self.steady

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def turn(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def jump(self, seconds):
        self.wall += seconds


class Relay:
    """``database``: made of options, instead of one in memory; ``queue`` puts a message in; ``settled`` waits until nothing is due, and gives what still waits."""

    def __init__(self, zones="", data=None, plugins=(), trust=None, http=None, resolver="", database=None, **config):
        self.port = free_port()
        self.dns = DnsServer(zones)
        self.clock = TurnedClock()
        self.log = RecordingLog()
        self.tasks = Tasks(self.log)
        self.plugins = plugins
        self.config = Config(hostname="mx.here.test", data_dir=config.pop("data_dir", "/nonexistent"), **config)
        self.trust = trust
        self.resolver = resolver
        self.http = http or FakeHttp()
        self.runner = None
        self.database = database or (lambda options: MemoryDatabase(options, data))

    async def __aenter__(self):
        await self.dns.start()
        dns_config = self.config.dns.model_copy(update={"servers": (self.resolver or self.dns.address,), "timeout": 1.0})
        resolver = DnsResolver(dns_config, self.tasks, self.clock.monotonic)
        self.hooks = host_with(*(plugin_of(p) for p in self.plugins), strict=False, log=self.log, dns=resolver, http=self.http)
        options = DatabaseOptions(data_dir=self.config.data_dir, queued=self.wake, durable_hooks=self.hooks.durable)
        self.db = self.database(options)
        await self.db.open()
        self.hooks.services.tables = self.db.tables
        self.hooks.add_builtin("directory", DirectoryPlugin(self.db.directory, Passwords()))
        outbound = Outbound(
            hostname="mx.here.test",
            dns=resolver,
            queue=self.db.queue,
            dialer=Dialer(self.trust),
            log=self.log,
            connect_timeout=self.config.queue.connect_timeout,
            smtp_port=self.port,
            hooks=self.hooks,
            tasks=self.tasks,
            tls_policies=self.config.tls_policies,
            greeting_timeout=self.config.outbound.greeting_timeout,
            source_addresses=self.config.outbound.source_addresses,
            helo=self.config.outbound.helo,
        )
        self.runner = Runner(
            config=self.config,
            hooks=self.hooks,
            database=self.db,
            resolver=Resolver(self.hooks, frozenset(), self.log, "mx.here.test"),
            router=Router(self.config, self.hooks),
            outbound=outbound,
            local=LocalTransport(self.hooks, self.db.directory, self.log),
            clock=self.clock,
            log=self.log,
            tasks=self.tasks,
            hostname="mx.here.test",
            owner="machine",
        )
        self.running = self.tasks.spawn(self.runner.run(), "runner")
        return self

    async def __aexit__(self, *_):
        await self.runner.drain(1.0)
        await self.tasks.close(0.5)
        await self.dns.stop()
        self.hooks.stop()
        await self.db.close()

    def wake(self):
        if self.runner is not None:
            self.runner.wake()

    async def add(self, name, plugin, config=None):
        """One more plugin, as a package would be."""
        made = self.hooks.make(name, plugin, "package", 0)
        made.context.config = validate(made.offers.model, config or {}, "config", str)
        self.hooks.change(add=[made])
        await self.hooks.migrate(str)
        return made.context

    async def user(self, address):
        [user] = await self.db.directory.add_users([(Address.parse(address), "hash")])
        return user

    async def inbox(self, user):
        info = await self.db.store.mailbox(user.id, "INBOX")
        rows = (await self.db.store.changes(info.id, ModSeq(0))).rows
        return [await self.db.store.read(row.blob) for row in rows]

    async def queue(self, *recipients, sender="bob@here.test", octets=OCTETS, skip=SKIP, **more):
        rows = [QueuedRecipient(Address.parse(r), "remote") if isinstance(r, str) else r for r in recipients]
        fixed = {"origin": "submission", "received_at": self.clock.now(), "message_id": "<m1@here.test>"}
        intake = Intake(
            id=QueueId(more.pop("id", f"Q{next(_ids)}")),
            sender=Address.parse(sender) if sender else None,
            content=OctetContent(octets),
            skip=skip,
            queued=tuple(rows),
            **{**fixed, **more},
        )
        await self.db.spool.accept(intake)
        return intake

    async def settled(self, timeout=10.0):
        """The rows that wait for later."""
        async with asyncio.timeout(timeout):
            while True:
                await asyncio.sleep(0.005)
                rows = await self.db.queue.list(QueueFilter(everything=True), now=self.clock.now())
                if self.runner.in_hand == 0 and all(row.state in ("waiting", "held", "error", "quarantine") for row in rows):
                    return rows

    async def later(self, seconds):
        self.clock.turn(seconds)
        self.runner.wake()
        await asyncio.sleep(0.02)
        return await self.settled()


@pytest.fixture
def relay():
    """``async with relay(zones, **config) as r``."""
    return Relay


@pytest.fixture
def sink():
    """``sink(relay, "127.0.0.2", …)``: a sink where that relay's MX connections go."""
    return lambda relay, host="127.0.0.1", **more: Sink(host=host, port=relay.port, **more)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """(path of the CA's certificate, function name -> server context)."""
    import ssl

    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)

    def context(*names):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(made)
        return made

    return str(path), context
