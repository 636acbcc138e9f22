"""What a plugin offers through the registry, in the server and in a process of its own: the same answers, the same failures."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import gc
import tempfile
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mta.directory.login import Denied, Refusal
from mta.directory.sasl import Brought
from mta.lookup.opened import Lookups
from mta.model.address import Address
from mta.model.directory import Alias, Domain, ScramKeys, StoredKeys
from mta.model.errors import ConfigError, TemporaryFailure
from mta.model.reply import Reply
from mta.net.tasks import Tasks
from mta.pipeline.parts import parts_of
from mta.pluginhost import lineprocess
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeMessage, FakeSession, FakeTransaction, RecordingLog, host_with
from mta.testing.smtpd import SmtpSite
from mta.wire.mime import parse
from mta.wire.sasl import Challenge, Identified, Rejected, SaslError
from mta_hooks.backends import Account, AccountsOptions
from mta_hooks.capabilities import ImapReply
from mta_hooks.http import HttpRequest
from mta_hooks.lookup import TableOptions
from mta_hooks.metrics import Metric

PLUGIN = """
import asyncio, os, time
import sqlalchemy as sa
from mta_hooks import *
from mta_hooks.backends import Account
from mta_hooks.capabilities import Pop3Reply
from mta_hooks.http import HttpAnswer, HttpRoute
from mta_hooks.metrics import Histogram, Metric
from mta_hooks.sasl import Challenge, Identified, Rejected, SaslError
from mta.model.directory import Alias
from mta.model.errors import ConfigError
from mta.model.reply import Reply

state = {"started": 0, "asked": 0}
times = Histogram((0.1, 1.0))

METADATA = sa.MetaData()
ROWS = sa.Table("offers_rows", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text, default="none"))
OTHERS = sa.Table("users", sa.MetaData(), sa.Column("id", sa.Integer))

@hookimpl
async def route(recipient, ctx):
    key = len(recipient.local)
    touched = await ctx.db.write(ROWS.delete().where(ROWS.c.id == key), ROWS.insert().values(id=key), ROWS.insert().values(id=key + 1, text="é"))
    [row] = await ctx.db.read(sa.select(ROWS.c.text, sa.func.count().label("n")).where(ROWS.c.id >= key).group_by(ROWS.c.text).order_by(ROWS.c.text).limit(1))
    said = [str(touched), row.text, str(row.n)]
    for statement in (ROWS.insert().values(id=key), OTHERS.select()):
        try:
            await (ctx.db.read if statement.is_select else ctx.db.write)(statement)
        except Exception as exc:
            said.append(type(exc).__name__)
    return Route("smtp", " ".join(said), 25)

@hookimpl
def startup(server, ctx):
    state["started"] = server.worker

@hookimpl(types=("text/*", "application/pdf"))
def mime_part(message, part):
    if part.content_type == "text/plain":
        return add_score(len(part.octets), f"{part.text.strip()} {part.path} {part.filename} {part.disposition} {message.header('subject')}")
    return reject(f"{len(part.octets)} {part.size}")

class Counting:
    def __init__(self, transaction):
        self.seen, self.id = 0, transaction.id
    def feed(self, octets):
        self.seen += len(octets)
        if octets == b"break":
            raise ValueError("broken")
        if octets == b"exit":
            os._exit(3)
    async def close(self):
        state["closed"] = self.id
        return reject(f"{self.seen} octets of {self.id}") if self.seen else None
    def __del__(self):
        state["dropped"] = self.id

@hookimpl
def message_sink(session, transaction, ctx):
    session.notes["sink"] = ctx.plugin
    return Counting(transaction) if transaction.id != "q0" else None

async def tick(ctx):
    await ctx.kv.set("ticked", b"yes")

async def serve(ctx):
    ctx.log.info("offers.serving")
    try:
        await asyncio.sleep(60)
    finally:
        await ctx.kv.set("stopped", b"yes")

async def shaky(ctx):
    raise ValueError("no luck")

def numbers(ctx):
    state["asked"] += 1
    times.observe(0.05)
    return [Metric("asked_total", state["asked"], help="Times.", labels={"kind": "all"}), times.metric("delay_seconds")]

async def echo(request, ctx):
    request.session.notes["seen"] = request.path
    text = f"{request.method} {request.params['name']} {request.query} {request.headers['x-a']} {request.user} {request.admin} {len(request.body)}"
    return HttpAnswer(201, text.encode() + request.body[:2], "text/plain", {"X-B": "c"})

def deeds(request, ctx):
    match request.params["what"]:
        case "none":
            return None
        case "raise":
            raise ValueError("broken")
        case "all":
            return HttpAnswer.json({metric.name: metric.value for metric in ctx.metrics()})
        case "exit":
            os._exit(3)
        case "state":
            return HttpAnswer.text(f"{state.get('closed')} {state.get('dropped')}")
        case "pid":
            return HttpAnswer.text(f"{os.getpid()} {state['started']}")

def imap(session, arguments, ctx):
    if arguments == ["none"]:
        return None
    if arguments == ["break"]:
        raise RuntimeError("broken")
    return ImapReply(f"{ctx.plugin} {session.user}", code="X 1", lines=["X " + str(one) for one in arguments])

def smtp(arguments):
    return Reply(250, "2.0.0", arguments)

def pop3():
    return Pop3Reply("all", lines=["", ".x"])

def cost(value):
    if value == "raise":
        raise RuntimeError("broken")
    return None if value and value.isdigit() else "XCOST takes a number"

def received(field, session, ctx):
    return field.replace("mail", ctx.plugin) if session.client_ip else None

class Knock:
    name, needs_tls, server_first = "X-KNOCK", True, False

    def __init__(self, peer, ctx):
        self.peer, self.ctx, self.count = peer, ctx, 0

    async def step(self, response):
        self.count += 1
        if response == b"knock":
            return Challenge(b"%d" % self.count) if self.count < 3 else Identified("bob@here.test", final=b"come in")
        if response == b"keys":
            keys = await self.peer.keys("bob@here.test")
            return Identified(keys.user) if keys and keys.scram[0].salt == b"\\xff" else Rejected("bob@here.test")
        if response == b"peer":
            return Challenge(f"{self.peer.service} {self.peer.mechanisms} {self.peer.certificate} {self.peer.channel_binding('tls-exporter')}".encode())
        if response == b"raise":
            raise RuntimeError("broken")
        if response == b"exit":
            os._exit(3)
        raise SaslError("not a knock")

class People:
    def __init__(self, url, options):
        self.url, self.options = url, options
    async def open(self):
        if self.url.endswith("nowhere"):
            raise ConfigError("people", "directory", "there is nobody", "name somebody.")
        self.opened = True
    async def close(self):
        pass
    async def domain(self, name):
        return Domain(name) if name in self.options.domains and self.opened else None
    async def account(self, address):
        if address.local == "away":
            raise TemporaryFailure("they are away")
        if address.local == "broken":
            raise ValueError("broken")
        if address.local == "exit":
            os._exit(3)
        return Account(address, address.local != "off") if address.local != "none" else None
    async def alias(self, source):
        return Alias(source, ("a@x.test", "b@x.test")) if source.startswith("all@") else None
    async def verify(self, account, password):
        return None if password == "" else password == account.address.local

class Reversed:
    patterns = True
    def __init__(self, source, options):
        self.source = source
    async def open(self):
        pass
    async def get(self, key):
        return key[::-1] if key != "none" else None

@hookimpl
def register(registry):
    registry.schema(METADATA)
    registry.job("tick", 60.0, tick, single=False)
    registry.service("serve", serve)
    registry.service("shaky", shaky, single=True)
    registry.metrics(numbers)
    registry.routes(lambda config: [HttpRoute("POST", "/echo/{name}", echo, access="public"), HttpRoute("GET", "do/{what}", deeds, access="admin", timeout=5.0)])
    registry.capability("imap", "XALL", commands={"XALL": imap})
    registry.capability("smtp", "XCOST", params="EUR", commands={"XSAY": smtp}, mail={"XCOST": cost}, rcpt={"XNICK": None, "XRCPT": cost})
    registry.capability("pop3", "XPOP", commands={"XPOP": pop3}, before_login=True)
    registry.received_header(received)
    registry.sasl(Knock)
    registry.backend("directory", "people", People)
    registry.backend("table", "reversed", Reversed)
"""


class Site:
    """The plugin loaded, here or there. ``run`` as HooksDir's."""

    def __init__(self, where: str) -> None:
        self.there = where == "there"
        self.log = RecordingLog()
        self.host = host_with(log=self.log)
        section = {"isolate": "process"} if self.there else {}
        self.host.load({"offers": section}, search=lambda name: [EntryPoint(name, "t_offers", "mta.plugins")])
        assert self.host.failed == {}

    def run(self, work):
        async def main():
            tasks = Tasks(self.log)
            self.host.start(tasks, jobs=False)
            try:
                return await work()
            finally:
                await tasks.close()

        return asyncio.run(main())

    def get(self, what):
        request = HttpRequest("GET", "/x", {"what": what}, (), {}, b"", FakeSession())
        return self.run(lambda: self.host.routes[1].ask(request))


@pytest.fixture(scope="module")
def folder():
    """One that every account can pass through."""
    with tempfile.TemporaryDirectory(prefix="mta-offers-", dir="/tmp") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "t_offers.py").write_text(PLUGIN)
        patch.syspath_prepend(name)
        yield folder


@pytest.fixture(scope="module", params=["here", "there"])
def site(request, folder):
    site = Site(request.param)
    yield site
    site.host.stop()


@pytest.fixture
def there(folder, monkeypatch):
    """One that may be broken."""
    monkeypatch.setattr(lineprocess, "SHORTEST_PAUSE", 0.01)
    site = Site("there")
    yield site
    site.host.stop()


def test_places_are_those_of_the_plugin(site, folder) -> None:
    places = {offered.step.spec.name: offered.step.file for offered in site.host.offering.calls()}
    assert {"imap XALL", "smtp XSAY", "pop3 XPOP", "sasl X-KNOCK", "received_header"} <= places.keys()
    assert set(places.values()) == {str(folder / "t_offers.py")}
    assert site.host.routes[1].step.file == str(folder / "t_offers.py")
    assert site.host.startup.steps[0].file == str(folder / "t_offers.py")


def test_jobs_and_services(site) -> None:
    async def main():
        job = site.host.plugins["offers"].offers.jobs[0]
        await job.run(site.host.plugins["offers"].context)
        site.host.start_services(single=False)
        while not site.log.named("offers.serving"):
            await asyncio.sleep(0.01)
        await site.host.stop_services(5.0)
        site.host.start_services(single=True)
        while (health := site.host.health()[0]).state == "ok":  # the clock does not wait between two tries
            await asyncio.sleep(0)
        await site.host.stop_services(5.0)
        return health

    health = site.run(main)
    keys = site.host.services.kv.rows
    assert (keys["offers", "ticked"][0], keys["offers", "stopped"][0]) == (b"yes", b"yes")
    assert site.log.named("plugin.service_restarts")
    error = site.log.named("plugin.error")[-1]
    assert (error["hook"], error["error"]) == ("service shaky", "ValueError: no luck")
    assert health.state == "degraded"
    assert "service shaky failed: ValueError: no luck" in health.reason


def test_metrics_are_said_here(site) -> None:
    first, times = site.run(site.host.metrics)[:2]
    assert (first.name, first.kind, first.labels) == ("mta_offers_asked_total", "counter", {"kind": "all"})
    assert (times.kind, times.buckets[0][1], times.count) == ("histogram", first.value, first.value)
    assert site.run(site.host.metrics)[0].value == first.value + 1


@pytest.mark.parametrize("size", [3, 200_000])
def test_a_request_and_its_answer(site, size) -> None:
    session = FakeSession(user="bob@x.test")
    request = HttpRequest(
        "POST", "/echo/x", {"name": "x"}, (("a", "1"), ("a", "2")), {"x-a": "y"}, b"\xff\x00" * size, session, True
    )
    answer = site.run(lambda: site.host.routes[0].ask(request))
    assert (answer.status, answer.content_type, dict(answer.headers)) == (201, "text/plain", {"X-B": "c"})
    said = f"POST x (('a', '1'), ('a', '2')) y bob@x.test True {2 * size}"
    assert answer.body == said.encode() + b"\xff\x00"
    assert session.notes == {"seen": "/echo/x"}


def test_requests_that_fail_are_named(site) -> None:
    errors = site.host.plugins["offers"].counters["GET /plugins/offers/do/{what}"]
    before = errors.errors
    assert site.get("none") is None
    assert site.get("raise") is None
    assert errors.errors == before + 2
    assert "ValueError: broken" in errors.last_error


def test_parts_of_a_message(site) -> None:
    text = b"Content-Type: text/plain; charset=latin-1\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\n\xe9\r\n"
    large = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 100_000 + b"\r\n"
    raw = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + text + b"--b\r\n" + large + b"--b--\r\n"
    first, second = parts_of(parse(raw), raw)

    async def main():
        message = FakeMessage(raw)
        return [await site.host.mime_part.verdict(message=message, part=part) for part in (first, second)]

    scored, refused = site.run(main)
    assert (scored.score, scored.verdict) == (1.0, None)
    assert "é 1 a.txt attachment s" in str(scored.steps)
    assert refused.verdict.text == "300000 400000"


def test_a_message_while_it_arrives(site) -> None:
    async def hear(*pieces, id="q1", end=True):
        session = FakeSession()
        sinks = await site.host.message_sink.open(session=session, transaction=FakeTransaction(id=id))
        assert session.notes == {"sink": "offers"}
        if sinks is None:
            return None
        for piece in pieces:
            if (decision := await sinks.feed(piece)).verdict is not None:
                return decision.verdict
        return (await sinks.close()).verdict if end else None

    async def main():
        request = HttpRequest("GET", "/", {"what": "state"}, (), {}, b"", FakeSession())
        out = [await hear(b"a" * 70_000, b"b", id="q7"), await hear(), await hear(b"x", id="q0"), await hear(b"a", b"break")]
        await hear(b"a", id="q9", end=False)
        gc.collect()
        while (said := (await site.host.routes[1].ask(request)).body) != b"q1 q9":
            await asyncio.sleep(0.01)
        return [*out, said]

    seven, empty, none, broken, _ = site.run(main)
    assert seven.text == "70001 octets of q7"
    assert (empty, none) == (None, None)
    assert broken.action == "defer"


def test_all_numbers_of_the_server(site) -> None:
    site.host.services.metrics = lambda: [Metric("mta_x_total", 7.0)]
    assert site.get("all").body == b'{"mta_x_total": 7.0}\n'


def test_commands_of_imap_smtp_and_pop3(site) -> None:
    commands = site.host.offering.commands

    async def main():
        call = commands["imap", "XALL"].call
        arguments = ["a", "\udcff", None, ["x", ["é"]]]
        done = await call(session=FakeSession(user="u"), arguments=arguments)
        with pytest.raises(TemporaryFailure, match="broken"):
            await call(session=FakeSession(), arguments=["break"])
        return (
            done,
            await call(session=FakeSession(), arguments=["none"]),
            await commands["smtp", "XSAY"].call(session=FakeSession(), arguments="hello"),
            await commands["pop3", "XPOP"].call(session=FakeSession(), arguments=""),
        )

    said, none, smtp, pop3 = site.run(main)
    assert isinstance(said, ImapReply)
    assert (said.text, said.code) == ("offers u", "X 1")
    assert list(said.lines) == ["X a", "X \udcff", "X None", "X ['x', ['é']]"]
    assert none is None
    assert smtp == Reply(250, "2.0.0", "hello")
    assert (pop3.ok, list(pop3.lines)) == (True, ["", ".x"])
    assert list(site.host.offering.advertised("smtp", logged_in=False)) == ["XCOST EUR"]


def test_parameters_are_looked_at_before_the_transaction(site) -> None:
    async def talk():
        smtp = SmtpSite()
        smtp.hooks.offering = site.host.offering
        link, transport = smtp.connect()
        lines = (
            b"EHLO me", b"MAIL FROM:<a@x.test> XCOST=x", b"MAIL FROM:<a@x.test> XCOST=raise", b"MAIL FROM:<a@x.test> XCOST=5",
            b"RCPT TO:<alice@example.test> XRCPT=x", b"RCPT TO:<alice@example.test> XRCPT=1 XNICK=any",
        )  # fmt: skip
        return [await smtp.talk(link, transport, line + b"\r\n") for line in lines]

    said = site.run(talk)[1:]
    assert [line[:3] for line in said] == [b"501", b"451", b"250", b"501", b"250"], said


def test_the_received_field(site) -> None:
    (write,) = site.host.offering.received
    given = {"transaction": FakeTransaction(), "field": "from mail; now"}
    assert site.run(lambda: write(session=FakeSession(), **given)) == "from offers; now"
    assert site.run(lambda: write(session=replace(FakeSession(), client_ip=""), **given)) is None


class FakePeer:
    service, certificate, mechanisms = "imap", b"\xff", ("X-KNOCK",)

    def __init__(self, keys=None):
        self.session, self._keys = FakeSession(), keys

    def channel_binding(self, kind):
        return b"data" if kind == "tls-exporter" else None

    async def keys(self, username):
        if self._keys is None:
            raise Refusal(Denied("no"))
        return self._keys


def login(site, *responses, peer=None):
    """What each step comes to."""

    async def main():
        run = Brought(site.host.offering.mechanisms["X-KNOCK"], peer or FakePeer())
        return [await run.step(response) for response in responses]

    return site.run(main)


def test_a_login_crosses_step_by_step(site) -> None:
    mechanism = site.host.offering.mechanisms["X-KNOCK"].mechanism
    assert (mechanism.needs_tls, mechanism.server_first, mechanism.channel_binding if site.there else False) == (True, False, False)
    assert login(site, b"knock", b"knock", b"knock") == [
        Challenge(b"1"),
        Challenge(b"2"),
        Identified("bob@here.test", final=b"come in"),
    ]
    with pytest.raises(SaslError, match="not a knock"):
        login(site, b"knock", b"bell")
    with pytest.raises(TemporaryFailure, match="broken"):
        login(site, b"raise")


def test_a_login_sees_its_peer_and_asks_for_keys(site) -> None:
    (said,) = login(site, b"peer")
    words = "['X-KNOCK']" if site.there else "('X-KNOCK',)"
    assert said == Challenge(f"imap {words} ".encode() + rb"b'\xff' b'data'")
    keys = StoredKeys("bob", (ScramKeys("sha256", b"\xff", 4096, b"s", b"k"),))
    assert login(site, b"keys", peer=FakePeer(keys)) == [Identified("bob")]
    assert login(site, b"keys", peer=FakePeer(StoredKeys("bob", (replace(keys.scram[0], salt=b"x"),)))) == [
        Rejected("bob@here.test")
    ]
    (denied,) = login(site, b"keys")
    assert isinstance(denied, Denied)


def test_accounts_of_a_directory(site) -> None:
    factory = site.host.backend("directory", "people")
    options = AccountsOptions("/x", "mx", ("x.test",))

    async def main():
        people = factory("people:all", options)
        await people.open()
        bob, off = Address("bob", "x.test"), Address("off", "x.test")
        account = await people.account(bob)
        out = [
            account, await people.account(off), await people.account(Address("none", "x.test")),
            await people.domain("x.test"), await people.domain("y.test"), await people.alias("all@x.test"),
            await people.alias("x@x.test"), await people.verify(account, "bob"), await people.verify(account, "wrong"),
            await people.verify(account, ""),
        ]  # fmt: skip
        with pytest.raises(TemporaryFailure, match="they are away"):
            await people.account(Address("away", "x.test"))
        with pytest.raises(ConfigError, match=r"there is nobody\. Fix: name somebody\."):
            await factory("people:nowhere", options).open()
        with pytest.raises(TemporaryFailure if site.there else ValueError, match="broken"):
            await people.account(Address("broken", "x.test"))
        await people.close()
        return bob, off, out

    bob, off, out = site.run(main)
    assert out == [
        Account(bob), Account(off, False), None, Domain("x.test"), None, Alias("all@x.test", ("a@x.test", "b@x.test")), None, True, False, None,
    ]  # fmt: skip


def test_tables_of_its_own(site) -> None:
    async def main():
        site.host.services.tables = MemoryTables()
        await site.host.migrate()
        return await site.host.route.first(sender=None, recipient=Address("bob", "x.test"))

    assert site.run(main).host == "[0, 1, 1] none 1 AlreadyExists LookupError"


def test_tables_of_a_backend(site) -> None:
    options = TableOptions("/x", "", None, site.log)
    table = Lookups(options, backend=lambda scheme: site.host.backend("table", scheme)).table("reversed:x")

    async def main():
        await table.open()
        return await table.get("abc"), await table.get("none"), await table.match(["none", "part"])

    assert site.run(main) == ("cba", None, None)  # patterns: the part is not asked


# ---- the process dies


def test_a_death_hurts_the_one_who_asked_and_startup_is_told_again(there) -> None:
    class Server:
        hostname, data_dir, workers, worker = "mx", "/x", 4, 3

    there.run(lambda: there.host.startup.all(server=Server()))
    first = there.get("pid").body.split()
    assert first[1] == b"3"
    assert there.get("exit") is None
    second = there.get("pid").body.split()
    assert second[0] != first[0]
    assert second[1] == b"3"
    assert there.host.health()[0].reason.startswith("its process failed once, last: ")

    async def logs_in():
        run = Brought(there.host.offering.mechanisms["X-KNOCK"], FakePeer())
        assert await run.step(b"knock") == Challenge(b"1")
        assert await there.host.routes[1].ask(HttpRequest("GET", "/", {"what": "exit"}, (), {}, b"", FakeSession())) is None
        with pytest.raises(TemporaryFailure, match="started again"):
            await run.step(b"knock")

    there.run(logs_in)

    async def arrives():
        given = {"session": FakeSession(), "transaction": FakeTransaction()}
        one, other = [await there.host.message_sink.open(**given) for _ in range(2)]
        assert (await one.feed(b"exit")).verdict.action == "defer"
        third = await there.host.message_sink.open(**given)
        assert (await other.feed(b"x")).verdict.action == "defer"  # of a process that is gone; nobody hears another's message
        assert (await third.feed(b"abc")).verdict is None
        return (await third.close()).verdict.text

    assert there.run(arrives) == "3 octets of q1"
    people = there.host.backend("directory", "people")("people:all", AccountsOptions("/x", "mx", ("x.test",)))

    async def looks_up():
        with pytest.raises(TemporaryFailure, match="its process failed"):
            await people.account(Address("exit", "x.test"))
        return await people.domain("x.test")

    assert there.run(looks_up) == Domain("x.test")  # made and opened again


def test_a_service_outlives_its_process(there) -> None:
    async def main():
        there.host.start_services(single=False)
        for times in (1, 2):
            while len(there.log.named("offers.serving")) < times:
                await asyncio.sleep(0.01)
            if times == 1:
                await there.host.routes[1].ask(HttpRequest("GET", "/", {"what": "exit"}, (), {}, b"", FakeSession()))
        await there.host.stop_services(5.0)

    there.run(main)
    assert there.log.named("plugin.service_restarts")


@pytest.mark.parametrize(
    ("kind", "why"), [("database", "durability"), ("blob", "transactions"), ("store", "bulk"), ("search", "bulk")]
)
def test_backends_that_stay_are_refused_with_the_reason(folder, kind, why) -> None:
    name = f"t_{kind}"
    (folder / f"{name}.py").write_text(
        f"from mta_hooks import *\n@hookimpl\ndef register(registry):\n    registry.backend('{kind}', 'x', print)\n"
    )
    host = host_with()
    host.load({name: {"isolate": "process"}}, search=lambda _: [EntryPoint(name, name, "mta.plugins")])
    assert f"a {kind} backend cannot run in a process of its own" in host.failed[name].reason
    assert why in host.failed[name].reason
    host.stop()
