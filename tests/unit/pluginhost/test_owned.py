"""Commands, tables and services of plugins: what is taken, what is refused, and how services live."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from typing import Any

import click
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from mta.cli.main import COMMANDS as CORE
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.host import HookHost
from mta.pluginhost.owned import COMMANDS
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeClock, RecordingLog, host_with, plugin_of
from mta_hooks import Context, hookimpl
from mta_hooks.services import Registry


def offering(offer: Callable[[Registry], None], name: str = "mine") -> Any:
    @hookimpl
    def register(registry: Registry) -> None:
        offer(registry)

    return plugin_of(register, name=name)


def metadata(*names: str, index: str = "") -> sa.MetaData:
    made = sa.MetaData()
    for name in names:
        extra = [sa.Index(index, "a")] if index else []
        sa.Table(name, made, sa.Column("a", sa.Text, primary_key=True), *extra)
    return made


async def forever(_ctx: Context) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("offer", "problem"),
    [
        (lambda r: r.cli(print), "takes a command or group of click"),
        (lambda r: [r.cli(click.Command("a")), r.cli(click.Command("b"))], "one command; make it a group"),
        (lambda r: r.schema({}), "takes a MetaData"),
        (lambda r: r.schema(sa.MetaData()), "no tables"),
        (lambda r: r.schema(metadata("other_table")), "table other_table must begin with mine_"),
        (lambda r: r.schema(metadata("messages")), "table messages must begin with mine_"),
        (lambda r: r.schema(metadata("mine_Upper")), "in lower case"),
        (lambda r: r.schema(metadata("mine_a", index="ix_a")), "index ix_a must begin with mine_"),
        (lambda r: r.schema(sa.MetaData(), ()), "no tables"),
        (lambda r: [r.schema(metadata("mine_a")), r.schema(metadata("mine_b"))], "one for each plugin"),
        (lambda r: r.service("a", None), "takes a coroutine function"),
        (lambda r: [r.service("a", forever), r.service("a", forever)], "registers the service a twice"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_load(offer: Callable[[Registry], None], problem: str) -> None:
    with pytest.raises(PluginRefused, match=problem):
        host_with(offering(offer))


def test_no_plugin_shadows_a_command_of_the_server() -> None:
    assert set(CORE) <= COMMANDS
    with pytest.raises(PluginRefused, match="mta queue is a command of the server"):
        host_with(offering(lambda r: r.cli(click.Command("queue")), "queue"))
    host_with(offering(lambda r: r.job("x", 1.0, forever), "queue"))  # the name alone does no harm


@pytest.mark.parametrize("offer", [lambda r: r.cli(click.Command("x")), lambda r: r.service("x", forever)])
def test_drop_ins_have_nothing_of_their_own(offer: Callable[[Registry], None]) -> None:
    with pytest.raises(PluginRefused, match="for installed plugins, not for a drop-in"):
        host_with().make("mine", offering(offer), "drop-in")


# ---- tables

OWN = metadata("mine_seen")
SEEN = OWN.tables["mine_seen"]
OTHER = metadata("other_seen").tables["other_seen"]


def with_tables(tables: Any) -> tuple[HookHost, Any]:
    host = host_with(offering(lambda r: r.schema(OWN)))
    host.services.tables = tables
    return host, host.plugins["mine"].context


def test_a_plugin_reads_and_writes_its_own_tables() -> None:
    host, ctx = with_tables(MemoryTables())

    async def work() -> None:
        await host.migrate()
        assert await ctx.db.write(SEEN.insert().values(a="x"), SEEN.insert().values(a="y")) == [1, 1]
        assert [row.a for row in await ctx.db.read(sa.select(SEEN.c.a).order_by(SEEN.c.a))] == ["x", "y"]

    asyncio.run(work())


@pytest.mark.parametrize(
    "statement",
    [
        OTHER.select(),
        sa.select(OTHER.c.a),
        OTHER.delete(),
        OTHER.insert().values(a="x"),
        sa.select(SEEN.c.a).where(SEEN.c.a.in_(sa.select(OTHER.c.a))),
        SEEN.insert().from_select(["a"], sa.select(OTHER.c.a)),
        upsert(SEEN).values(a="x").on_conflict_do_update(index_elements=["a"], set_={"a": sa.select(OTHER.c.a).scalar_subquery()}),
        sa.select(sa.select(OTHER.c.a).cte()),
        SEEN.join(OTHER, SEEN.c.a == OTHER.c.a).select(),
        sa.text("DELETE FROM messages"),
        sa.select(SEEN.c.a).where(sa.text("1 = 1")),
        "DELETE FROM messages",
    ],
    ids=str,
)
def test_a_plugin_does_not_reach_other_tables(statement: Any) -> None:
    _, ctx = with_tables(MemoryTables())
    for call in (ctx.db.read, ctx.db.write):
        with pytest.raises(LookupError, match=r"ctx\.db"):
            asyncio.run(call(statement))


@pytest.mark.parametrize("call", ["read", "write"])
def test_what_changes_rows_is_written_and_says_how_many(call: str) -> None:
    _, ctx = with_tables(MemoryTables())
    insert = SEEN.insert().values(a="x")
    within = sa.select(insert.returning(SEEN.c.a).cte())
    for statement in (insert.returning(SEEN.c.a), within, *([insert] if call == "read" else [])):
        with pytest.raises(LookupError, match=r"ctx\.db"):
            asyncio.run(getattr(ctx.db, call)(statement))


def test_without_a_schema_or_a_database_there_is_no_ctx_db() -> None:
    _, ctx = with_tables(None)
    with pytest.raises(TemporaryFailure, match="not open yet"):
        asyncio.run(ctx.db.read(SEEN.select()))
    plain = host_with(offering(lambda r: None)).plugins["mine"].context
    with pytest.raises(LookupError, match=r"offers no registry\.schema"):
        asyncio.run(plain.db.read(SEEN.select()))


def test_a_plugin_that_cannot_have_its_tables_is_left_out() -> None:
    class Newer(MemoryTables):
        async def migrate(self, plugin: str, schema: Any) -> None:
            raise ConfigError("database", "plugins.mine", "its tables have version 2, this plugin knows 1", "install the newer.")

    for tables, problem in ((Newer(), "have version 2, this plugin knows 1; install the newer"), (None, "keeps no tables")):
        host, _ = with_tables(tables)
        asyncio.run(host.migrate())
        assert host.plugins == {}
        assert problem in host.failed["mine"].reason
        host, _ = with_tables(tables)
        host.plugins["mine"].required = True
        with pytest.raises(ConfigError, match=r"(?s)mta.yaml:7.*plugins.mine.*required: false"):
            asyncio.run(host.migrate(lambda key: "mta.yaml:7"))


# ---- services


def run_services(host: HookHost, until: Callable[[], bool], *, single: bool = False, grace: float = 1.0) -> None:
    async def work() -> None:
        host.start_services(single=single)
        for _ in range(1000):
            if until():
                break
            await asyncio.sleep(0)
        assert until()
        await host.stop_services(grace)

    asyncio.run(work())


def test_a_service_that_raises_is_started_again_ever_later() -> None:
    clock, starts = FakeClock(), []

    async def serve(ctx: Context) -> None:
        starts.append(clock.monotonic())
        if len(starts) == 5:
            clock.advance(61.0)  # a good while: the next pause is short again
        raise OSError("port taken")

    log = RecordingLog()
    host = host_with(offering(lambda r: r.service("listen", serve)), clock=clock, log=log)
    run_services(host, lambda: len(starts) >= 6)
    pauses = [fields["seconds"] for fields in log.named("plugin.service_restarts")]
    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 1.0]
    counter = host.plugins["mine"].counters["service listen"]
    assert counter.errors >= 5
    assert "port taken" in counter.last_error
    assert host.plugins["mine"].breaker.open_until == 0.0  # its hooks are asked as ever


def test_health_says_why_a_service_does_not_run() -> None:
    class Still(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    async def serve(_ctx: Context) -> None:
        raise OSError("port taken")

    host = host_with(offering(lambda r: r.service("listen", serve)), clock=Still())
    run_services(host, lambda: bool(host.plugins["mine"].troubles))
    [health] = host.health()
    assert (health.state, health.reason) == ("degraded", "service listen failed: OSError: port taken")


def test_a_service_that_returns_is_done_and_one_that_is_cancelled_tidies_up() -> None:
    said: list[str] = []

    async def brief(_ctx: Context) -> None:
        said.append("brief")

    async def lasting(_ctx: Context) -> None:
        try:
            said.append("began")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("tidy")

    log = RecordingLog()
    host = host_with(offering(lambda r: [r.service("brief", brief), r.service("lasting", lasting)]), log=log)
    run_services(host, lambda: bool(log.named("plugin.service_ended")))
    assert said == ["brief", "began", "tidy"]


def test_each_worker_runs_services_and_one_runs_single_ones() -> None:
    ran: list[str] = []

    def service(name: str) -> Any:
        async def run(_ctx: Context) -> None:
            ran.append(name)

        return run

    host = host_with(offering(lambda r: [r.service("one", service("one"), single=True), r.service("all", service("all"))]))
    run_services(host, lambda: len(ran) == 1)
    assert ran == ["all"]
    run_services(host, lambda: len(ran) == 2, single=True)
    assert ran == ["all", "one"]


def test_a_service_that_will_not_end_does_not_hold_up_the_shutdown() -> None:
    stop: list[asyncio.Event] = []

    async def stubborn(_ctx: Context) -> None:
        stop.append(asyncio.Event())
        while not stop[0].is_set():
            try:
                await stop[0].wait()
            except asyncio.CancelledError:
                continue

    log = RecordingLog()
    host = host_with(offering(lambda r: r.service("stubborn", stubborn)), log=log)

    async def work() -> None:
        host.start_services(single=False)
        await asyncio.sleep(0)
        await host.stop_services(0.05)
        stop[0].set()

    asyncio.run(work())
    assert [fields["tasks"] for fields in log.named("plugin.service_hangs")] == ["service-mine-stubborn"]
