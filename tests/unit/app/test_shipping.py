"""``log_event``: in order, beside the logger, never about itself, never more than the bound."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from mta.app import shipping
from mta.app.shipping import Shipper
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl


@pytest.fixture(autouse=True)
def _quiet():
    root = logging.getLogger("mta")
    level, root.propagate = root.level, False
    root.setLevel(logging.INFO)
    yield
    root.setLevel(level)
    root.propagate = True


def shipped(work, function, **options):
    log = RecordingLog()
    host = host_with(plugin_of(function, name="shipper"), log=options.pop("log", Log()))

    async def run():
        shipper = Shipper(host, log)
        shipper.attach()
        tasks = Tasks(log)
        tasks.spawn(shipper.run(), "shipping")
        await work(Log())
        await shipper.detach(5.0)
        await tasks.close()
        return shipper

    return asyncio.run(run()), log


def test_lines_come_in_order_with_their_values() -> None:
    told = []

    async def work(log):
        log.info("one", number=1, password="hunter2", name=SimpleNamespace())
        log.debug("not logged, not told")
        try:
            raise KeyError("x")
        except KeyError:
            log.bind(session="s").error("two", exc_info=True)
        await asyncio.to_thread(log.warning, "three")

    @hookimpl
    async def log_event(record):
        await asyncio.sleep(0)
        told.append(record)

    shipped(work, log_event)
    assert [(r.event, r.level) for r in told] == [("one", "info"), ("two", "error"), ("three", "warning")]
    assert told[0].fields == {"number": 1, "password": "***", "name": "namespace()"}
    assert told[1].fields["session"] == "s"
    assert "KeyError" in told[1].fields["traceback"]


def test_nobody_hears_of_its_own() -> None:
    told = []

    async def work(log):
        log.info("first")
        await asyncio.sleep(0.05)
        log.info("of the plugin", plugin="shipper")
        log.info("second", plugin="other")

    @hookimpl
    async def log_event(record, ctx):
        told.append(record.event)
        ctx.log.info("direct")
        Log().info("past the context")
        await asyncio.gather(later())
        raise ValueError("logged by the host")

    async def later():
        Log().info("from a task")

    shipped(work, log_event)
    assert told == ["first", "second"]


def test_the_logger_never_waits_and_lines_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(shipping, "MOST", 100)
    told = []

    async def work(log):
        for number in range(1000):
            log.info("line", number=number)
        assert told == []  # not one was told while somebody logged

    @hookimpl
    async def log_event(record):
        told.append(record.fields["number"])

    shipper, log = shipped(work, log_event)
    assert told == list(range(100))
    assert shipper.dropped == 900
    (line,) = log.named("log.dropped")
    assert line["lines"] == 900


def test_without_an_implementation_nothing_is_kept() -> None:
    async def work():
        shipper = Shipper(host_with(), RecordingLog())
        shipper.attach()
        Log().info("line")
        assert len(shipper._waiting) == 0
        await shipper.detach(1.0)

    asyncio.run(work())
