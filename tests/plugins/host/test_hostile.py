"""Hostile plugins: whatever one does, the answer is safe, the others are asked as ever, and the culprit has a name in the health."""

import asyncio
import time

import pytest

from mta.model.address import Address
from mta.model.delivery import Delivered, DeliveryStatus, Route
from mta.model.errors import TemporaryFailure
from mta.model.message import Placement
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict, accept, reject
from mta.net.tasks import Tasks
from mta.pluginhost.specs import SPECS
from mta.testing.plugins import FakeMessage, FakeSession, FakeTransaction, RecordingLog, host_with, plugin_of
from mta_hooks import Attempt, DsnReport, Envelope, ImapCommand, hookimpl

A = Address("a", "example.org")
EVERYTHING = {
    "server": None,
    "session": FakeSession(),
    "transaction": FakeTransaction(),
    "message": FakeMessage(sender=None),
    "sender": None,
    "recipient": A,
    "recipients": (),
    "address": A,
    "domain": "example.org",
    "params": {},
    "results": (),
    "service": "imap",
    "username": "a@example.org",
    "credential": "x",
    "name": "",
    "verb": "EHLO",
    "user": "a@example.org",
    "placement": Placement(),
    "record": None,
    "event": None,
    "capabilities": ["HELP"],
    "reply": Reply(250, "2.0.0", "ok"),
    "hook": "smtp_rcpt",
    "envelope": Envelope("q", None, (A,), "smtp", 0.0, 0),
    "envelopes": (),
    "attempt": Attempt(1, "example.org", "smtp"),
    "site": "example.org",
    "report": DsnReport("q-1", "q", "", A, 0.0, ()),
    "mx": "mx.example.org",
    "status": DeliveryStatus(450, "4.2.0", "busy"),
}


class Hostile(str):
    def __eq__(self, other):
        raise RuntimeError("no comparing")

    __hash__ = str.__hash__


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def raise_it(exc):
    def act():
        raise exc

    return act


def recurse():
    return recurse()


async def hang():
    await asyncio.sleep(60)


async def nonsense_later():
    await asyncio.sleep(0)
    return object()


DEEDS = {
    "raises": raise_it(ValueError("secret detail")),
    "raises with a text of 50 MB": raise_it(ValueError("x" * 50_000_000)),
    "raises what has no text": raise_it(Mute()),
    "raises a group": raise_it(ExceptionGroup("g", [ValueError()])),
    "exits": raise_it(SystemExit("bye")),
    "cancels": raise_it(asyncio.CancelledError()),
    "recurses": recurse,
    "answers a string": lambda: "yes",
    "answers a number": lambda: 250,
    "answers itself": lambda: DEEDS,
    "answers a hostile string": lambda: Hostile("x"),
    "answers the wrong value": lambda: Verdict(Action.REJECT, 250, "2.0.0", "ok"),
    "answers huge text": lambda: Verdict(Action.REJECT, 550, "5.0.0", "x" * 10_000_000),
    "answers a generator": lambda: (x for x in ()),
    "answers nonsense after a wait": nonsense_later,
}


def call(host, hook):
    spec = SPECS[hook]
    plan = getattr(host, hook)
    arguments = {name: EVERYTHING.get(name) for name in spec.arguments}
    if hook == "smtp_command":
        arguments["verb"] = "EHLO2"
    if hook == "imap_command":
        arguments["command"] = ImapCommand("EHLO2")
    if spec.mode == "pipeline":
        return plan.pipeline(spec.arguments[-1], **arguments)
    return {"verdict": plan.verdict, "first": plan.first, "all": plan.all, "durable": plan.notify, "notify": plan.notify}[
        spec.mode
    ](**arguments)


def mark(hook, **options):
    return hookimpl(verbs="EHLO2" if hook in ("smtp_command", "imap_command") else (), **options)


CHECKED_OTHERWISE = {"smtp_capabilities"}
FINE = {(hook, f"answers a {kind}") for hook in ("rcpt_policy_key", "config_changed") for kind in ("string", "hostile string")}
CALLED = [name for name, spec in SPECS.items() if spec.mode != "load"]


@pytest.mark.parametrize("hook", CALLED)
@pytest.mark.parametrize("deed", DEEDS)
def test_every_deed_in_every_hook_ends_as_on_error_says(hook, deed) -> None:
    spec = SPECS[hook]

    def act():
        return DEEDS[deed]()

    act.__name__ = hook
    log = RecordingLog()
    host = host_with(plugin_of(mark(hook)(act), name="hostile"), log=log, strict=False)
    ignored = ("answer" in deed and not spec.answers and hook not in CHECKED_OTHERWISE) or (hook, deed) in FINE
    try:
        outcome = asyncio.run(call(host, hook))
    except TemporaryFailure:
        assert host.__dict__[hook].steps[0].on_error in ("defer", "retry")
    else:
        if spec.mode == "verdict":
            assert (outcome.verdict.action, outcome.verdict.code, outcome.plugin) == (Action.DEFER, 451, "hostile")
            assert "secret" not in outcome.verdict.text
        elif not ignored:
            assert outcome in ([], None, *(EVERYTHING.get(name) for name in spec.arguments[-1:]))
    (health,) = host.health()
    assert health.name == "hostile"
    assert len(str(health)) < 5000
    if not ignored:
        assert health.hooks[0].errors == 1
        assert health.hooks[0].last_error
        assert all(len(str(fields.get("error", ""))) <= 1000 for _, _, fields in log.lines)


@pytest.mark.parametrize("hook", CALLED)
def test_hanging_for_a_minute_in_every_hook_is_cut_off(hook) -> None:
    async def act():
        await hang()

    act.__name__ = hook
    host = host_with(plugin_of(mark(hook, timeout=0.01)(act), name="hostile"))

    async def main():
        tasks = Tasks(RecordingLog())
        host.start(tasks)
        began = time.monotonic()
        try:
            await asyncio.gather(call(host, hook), return_exceptions=True)
            return time.monotonic() - began
        finally:
            await tasks.close()
            host.stop()

    assert asyncio.run(main()) < 2
    assert "Overdue" in host.health()[0].hooks[0].last_error


def test_nobody_else_is_disturbed() -> None:
    @hookimpl(on_error="continue")
    def smtp_rcpt():
        raise SystemExit

    @hookimpl
    def good():
        return accept()

    host = host_with(plugin_of(smtp_rcpt, name="hostile"), plugin_of(name="good", smtp_rcpt=good))
    for _ in range(20):
        assert asyncio.run(call(host, "smtp_rcpt")).verdict == accept()
    assert [(h.name, h.state) for h in host.health()] == [("hostile", "suspended"), ("good", "ok")]


def test_arguments_that_a_plugin_replaces_reach_nobody_else() -> None:
    seen = []

    @hookimpl
    def smtp_mail(ctx, params):
        del ctx, params

    @hookimpl
    def second(ctx, params):
        seen.append((ctx.plugin, params))

    host = host_with(plugin_of(smtp_mail, name="a"), plugin_of(name="b", smtp_mail=second))
    asyncio.run(call(host, "smtp_mail"))
    assert seen == [("b", {})]


@pytest.mark.parametrize(
    ("hook", "answer"),
    [("deliver", Delivered()), ("route", Route("smtp")), ("smtp_rcpt", reject("no"))],
)
def test_the_null_sender_is_an_ordinary_sender(hook, answer) -> None:
    def act(sender=None):
        return answer

    act.__name__ = hook
    host = host_with(plugin_of(hookimpl(act)))
    outcome = asyncio.run(call(host, hook))
    assert answer in (outcome, getattr(outcome, "verdict", None))


def test_leaked_tasks_of_a_hook_do_not_end_its_session() -> None:
    @hookimpl
    async def smtp_mail():
        asyncio.ensure_future(hang()).cancel()
        await asyncio.sleep(0)
        return accept()

    host = host_with(smtp_mail)
    assert asyncio.run(call(host, "smtp_mail")).verdict == accept()


def test_a_hook_that_cancels_its_own_session_is_the_session_s_cancellation() -> None:
    """In-process Python is trusted code: what it does to its own task is not told from the engine doing it."""

    @hookimpl
    async def smtp_mail():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    host = host_with(smtp_mail)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call(host, "smtp_mail"))
