"""The shapes of a plan, and what becomes of answers and failures in each."""

import asyncio
import functools

import pytest

from mta.model.address import Address
from mta.model.directory import MailboxTarget, NotFound
from mta.model.errors import Refused, StorageDead, TemporaryFailure
from mta.model.ids import UserId
from mta.model.message import Placement
from mta.model.reply import Reply
from mta.model.verdict import Action, Verdict, accept, add_score, defer, discard, hold, quarantine, redirect, reject
from mta.pluginhost.call import ContractError
from mta.pluginhost.plan import NOTHING
from mta.testing.plugins import FakeMessage, FakeSession, RecordingLog, host_with, plugin_of
from mta_hooks import AddHeader, hookimpl

A = Address("a", "example.org")


def mail(host):
    return asyncio.run(host.smtp_mail.verdict(session=FakeSession(), transaction=None, sender=None, params={}))


def check(host):
    return asyncio.run(host.message_check.verdict(session=FakeSession(), message=FakeMessage(), recipients=(), results=()))


def lookup(host):
    return asyncio.run(host.recipient_lookup.first(address=A))


def smtp_mail(answer, *, name="one", options=None, is_async=False):
    def plain():
        if isinstance(answer, BaseException):
            raise answer
        return answer

    if is_async:

        @hookimpl(**(options or {}))
        async def smtp_mail():
            await asyncio.sleep(0)
            return plain()
    else:

        @hookimpl(**(options or {}))
        def smtp_mail():
            return plain()

    return plugin_of(smtp_mail, name=name)


def test_a_hook_that_nobody_implements_is_none() -> None:
    host = host_with()
    assert host.smtp_mail is None
    assert host.durable == frozenset()


def test_nobody_has_an_opinion() -> None:
    assert mail(host_with(smtp_mail(None), smtp_mail(None, name="two", is_async=True))) is NOTHING


@pytest.mark.parametrize("is_async", [False, True])
def test_the_first_final_verdict_ends_the_chain(is_async) -> None:
    host = host_with(smtp_mail(None), smtp_mail(reject("no"), name="two", is_async=is_async), smtp_mail(accept(), name="three"))
    decision = mail(host)
    assert decision.verdict == reject("no")
    assert decision.plugin == "two"
    (step,) = decision.steps
    assert {k: step[k] for k in ("hook", "plugin", "verdict")} == {
        "hook": "smtp_mail",
        "plugin": "two",
        "verdict": reject("no").to_json(),
    }
    assert step["seconds"] >= 0


def test_scores_add_up_until_somebody_decides() -> None:
    def scorer(value, name):
        @hookimpl
        def message_check():
            return value

        return plugin_of(message_check, name=name)

    host = host_with(scorer(add_score(2.5), "a"), scorer(None, "b"), scorer(add_score(-1), "c"))
    assert (check(host).verdict, check(host).score, check(host).plugin) == (None, 1.5, "")
    host = host_with(scorer(add_score(2.5), "a"), scorer(discard("x"), "b"), scorer(add_score(9), "c"))
    assert (check(host).verdict.action, check(host).score, check(host).plugin) == (Action.DISCARD, 2.5, "b")


def test_only_wanted_arguments_are_passed_in_any_order_and_ctx_among_them() -> None:
    seen = []

    @hookimpl
    def mail_from(params, ctx, session):
        seen.append((params, ctx.config["k"], session.id, ctx.plugin))

    @hookimpl
    async def ehlo(ctx):
        seen.append(ctx.hostname)

    class Both:
        name = "both"
        smtp_mail = staticmethod(mail_from)
        smtp_ehlo = staticmethod(ehlo)

    host = host_with(Both(), config={"k": 7})
    mail(host)
    asyncio.run(host.smtp_ehlo.verdict(session=None, name="x", verb="EHLO"))
    assert seen == [({}, 7, "s1", "both"), "mx.example.test"]


def test_a_defaulted_argument_of_a_newer_server_keeps_its_default() -> None:
    seen = []

    @hookimpl
    def smtp_mail(session, colour="blue", params=None):
        seen.append((session.id, colour, params))

    mail(host_with(smtp_mail))
    assert seen == [("s1", "blue", {})]


def test_a_decorated_async_function_is_awaited() -> None:
    def twice(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @hookimpl
    @twice
    async def smtp_mail(session):
        await asyncio.sleep(0)
        return reject(session.id)

    assert mail(host_with(smtp_mail)).verdict.text == "s1"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), asyncio.CancelledError(), StopIteration(), RecursionError(), MemoryError()]
)
def test_a_failure_defers_by_default_and_is_named(error, is_async) -> None:
    log = RecordingLog()
    host = host_with(smtp_mail(error, is_async=is_async), smtp_mail(accept(), name="two"), log=log)
    decision = mail(host)
    assert (decision.verdict.code, decision.verdict.enhanced, decision.plugin) == (451, "4.3.0", "one")
    assert decision.steps[0]["error"]
    assert "x" not in decision.verdict.text
    (line,) = log.named("plugin.error")
    assert (line["plugin"], line["hook"], line["then"]) == ("one", "smtp_mail", "defer")


def test_on_error_continue_and_reject() -> None:
    failing = functools.partial(smtp_mail, ValueError("x"))
    host = host_with(failing(options={"on_error": "continue"}), smtp_mail(accept(), name="two"))
    decision = mail(host)
    assert decision.verdict == accept()
    assert [s["plugin"] for s in decision.steps] == ["one", "two"]
    assert mail(host_with(failing(options={"on_error": "reject"}))).verdict.code == 554


def test_the_function_s_word_outranks_the_config_s_which_outranks_the_hook_s() -> None:
    host = host_with(smtp_mail(ValueError()))
    (step,) = host.smtp_mail.steps
    assert (step.on_error, step.timeout) == ("defer", 5.0)
    plugin = host.plugins["one"]
    plugin.on_error, plugin.timeout = "continue", 9.0
    host.change(remove=[plugin], add=[plugin])
    assert (host.smtp_mail.steps[0].on_error, host.smtp_mail.steps[0].timeout) == ("continue", 9.0)
    host = host_with(smtp_mail(None, options={"on_error": "reject", "timeout": 1.5}))
    assert (host.smtp_mail.steps[0].on_error, host.smtp_mail.steps[0].timeout) == ("reject", 1.5)


BAD = [
    "no",
    550,
    object(),
    [reject("x")],
    quarantine("not here"),
    hold("x"),
    discard("x"),
    redirect("a@b"),
    add_score(1.0),
    Verdict(Action.REJECT, 250, "2.0.0", "trick"),
    Verdict(Action.DEFER, 550, "5.0.0", "trick"),
    Verdict(Action.REJECT, 550, "5.0.0", "x" * 5000),
    Verdict(Action.REJECT, 550, "5.0.0", b"bytes"),
]


@pytest.mark.parametrize("answer", BAD, ids=lambda answer: "object" if type(answer) is object else repr(answer))
def test_an_answer_that_the_hook_may_not_give_raises_in_tests_and_is_a_logged_failure_live(answer) -> None:
    with pytest.raises(ContractError, match=r"one: smtp_mail: "):
        mail(host_with(smtp_mail(answer)))
    log = RecordingLog()
    decision = mail(host_with(smtp_mail(answer), strict=False, log=log))
    assert decision.verdict.code == 451
    (line,) = log.named("plugin.bad_verdict")
    assert (line["plugin"], line["hook"]) == ("one", "smtp_mail")
    assert str(line["file"]).endswith("test_plan.py")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "3", 1e9])
def test_a_score_that_drowns_all_others_is_refused(score) -> None:
    @hookimpl
    def message_check():
        return Verdict(Action.ACCEPT, score=score)

    assert check(host_with(message_check, strict=False)).verdict.code == 451


def test_redirect_needs_an_address() -> None:
    @hookimpl
    def message_check():
        return redirect()

    with pytest.raises(ContractError):
        check(host_with(message_check))


def test_refused_raised_in_a_verdict_hook_is_its_verdict() -> None:
    verdict = mail(host_with(smtp_mail(Refused(Reply(553, "5.1.8", "no such domain", True), "private")))).verdict
    assert (verdict.action, verdict.code, verdict.enhanced, verdict.text, verdict.hang_up) == (
        Action.REJECT,
        553,
        "5.1.8",
        "no such domain",
        True,
    )
    assert mail(host_with(smtp_mail(Refused(Reply(450, "4.2.0", "later"))))).verdict == defer("later", code=450, enhanced="4.2.0")


def test_storage_that_died_passes_through() -> None:
    with pytest.raises(StorageDead):
        mail(host_with(smtp_mail(StorageDead("EIO"))))


# ---- first


def recipient_lookup(answer, *, name, **options):
    @hookimpl(**options)
    async def recipient_lookup(address):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return plugin_of(recipient_lookup, name=name)


def test_first_takes_the_first_answer() -> None:
    target = MailboxTarget(UserId(1), A)
    assert (
        lookup(
            host_with(recipient_lookup(None, name="a"), recipient_lookup(target, name="b"), recipient_lookup(NotFound(), name="c"))
        )
        == target
    )
    assert lookup(host_with(recipient_lookup(None, name="a"))) is None


def test_first_raises_when_one_before_the_answer_failed() -> None:
    target = MailboxTarget(UserId(1), A)
    with pytest.raises(TemporaryFailure, match=r"a: recipient_lookup: ValueError: x"):
        lookup(host_with(recipient_lookup(ValueError("x"), name="a"), recipient_lookup(target, name="b")))
    assert (
        lookup(host_with(recipient_lookup(ValueError("x"), name="a", on_error="continue"), recipient_lookup(target, name="b")))
        == target
    )
    with pytest.raises(ContractError, match=r"must answer .*MailboxTarget.* not str"):
        lookup(host_with(recipient_lookup("bob", name="a")))


def test_a_database_that_is_away_is_no_fault_of_the_plugin() -> None:
    host = host_with(recipient_lookup(TemporaryFailure("locked"), name="a"))
    for _ in range(20):
        with pytest.raises(TemporaryFailure, match=r"locked"):
            lookup(host)
    assert host.health()[0].state == "ok"
    assert host.health()[0].hooks[0].errors == 20


# ---- all, pipeline, notify


def test_all_collects_and_flattens_and_skips_failures_that_may_be_skipped() -> None:
    x, y, z = (AddHeader(n, "v") for n in "xyz")

    def modifier(answer, name):
        @hookimpl
        def message_modify(message):
            if isinstance(answer, Exception):
                raise answer
            return answer

        return plugin_of(message_modify, name=name)

    host = host_with(modifier([x, y], "a"), modifier(ValueError(), "b"), modifier(None, "c"), modifier(z, "d"))
    assert asyncio.run(host.message_modify.all(message=FakeMessage(), recipients=())) == [("a", x), ("a", y), ("d", z)]
    with pytest.raises(ContractError):
        asyncio.run(host_with(modifier([x, "y"], "a")).message_modify.all(message=FakeMessage(), recipients=()))


def test_all_raises_where_the_default_is_to_defer() -> None:
    @hookimpl
    def message_sign():
        raise ValueError("no key")

    with pytest.raises(TemporaryFailure, match=r"no key"):
        asyncio.run(host_with(message_sign).message_sign.all(message=FakeMessage()))


def test_pipeline_hands_the_value_through() -> None:
    def placer(name, change):
        @hookimpl
        async def mailbox_deliver(placement):
            return change(placement)

        return plugin_of(mailbox_deliver, name=name)

    def fail(_):
        raise ValueError

    host = host_with(
        placer("a", lambda p: Placement("A")),
        placer("b", lambda p: None),
        placer("c", fail),
        placer("d", lambda p: Placement(p.folder + "/B")),
    )
    out = asyncio.run(
        host.mailbox_deliver.pipeline("placement", user="u", recipient=A, message=FakeMessage(), placement=Placement())
    )
    assert out == Placement("A/B")


def test_startup_refuses_only_for_required_plugins() -> None:
    @hookimpl
    def startup(server):
        raise ValueError("no licence")

    host = host_with(startup)
    assert asyncio.run(host.startup.all(server=None)) == []
    host.plugins["startup"].required = True
    plugin = host.plugins["startup"]
    host.change(remove=[plugin], add=[plugin])
    with pytest.raises(TemporaryFailure, match=r"no licence"):
        asyncio.run(host.startup.all(server=None))


def test_every_spec_has_an_attribute_and_every_attribute_a_spec() -> None:
    from mta.pluginhost.host import HookHost
    from mta.pluginhost.specs import SPECS

    declared = {name for name, kind in HookHost.__annotations__.items() if "Plan" in str(kind)}
    assert declared == {name for name, spec in SPECS.items() if spec.mode != "load"}
