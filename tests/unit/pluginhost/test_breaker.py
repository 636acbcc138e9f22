"""A plugin that keeps failing is left alone for a while, tried with one call, and taken back."""

import asyncio

from mta.pluginhost.breaker import Breaker
from mta.pluginhost.host import HostOptions
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl


def test_opens_after_errors_within_the_window_only() -> None:
    breaker = Breaker(3, 60.0, 30.0)
    assert [breaker.failed(t) for t in (100.0, 110.0, 161.0, 162.0)] == [False, False, False, False]
    assert breaker.failed(163.0)
    assert breaker.open_until == 193.0


def test_a_success_between_errors_keeps_it_closed() -> None:
    breaker = Breaker(2, 60.0, 30.0)
    for t in range(100, 110):
        assert not breaker.failed(float(t))
        assert not breaker.succeeded()
    assert not breaker.troubled


def test_one_that_never_opens() -> None:
    breaker = Breaker(0, 60.0, 30.0)
    assert not any(breaker.failed(100.0) for _ in range(100))
    assert not breaker.trip(100.0)
    assert breaker.open_until == 0.0


def test_a_call_from_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker(1, 60.0, 30.0)
    assert breaker.failed(100.0)
    assert not breaker.succeeded()
    assert breaker.open_until == 130.0
    assert breaker.troubled


def test_one_probe_after_the_pause() -> None:
    breaker = Breaker(1, 60.0, 30.0)
    assert breaker.failed(0.0)
    assert not breaker.may_call(29.0)
    assert breaker.may_call(30.0)
    assert not breaker.may_call(31.0)
    assert breaker.failed(32.0)
    assert not breaker.may_call(61.0)
    assert breaker.may_call(62.0)
    assert breaker.succeeded()
    assert breaker.open_until == 0.0
    assert breaker.opened == 2


def test_a_probe_that_never_comes_back_does_not_keep_it_open_for_ever() -> None:
    breaker = Breaker(1, 60.0, 30.0)
    breaker.failed(0.0)
    assert breaker.may_call(30.0)
    assert not breaker.may_call(59.0)
    assert breaker.may_call(60.0)


def test_an_open_breaker_answers_on_error_without_a_call() -> None:
    called = []

    @hookimpl
    def smtp_mail():
        called.append(1)
        if len(called) <= 2:
            raise ValueError("x")

    log = RecordingLog()
    host = host_with(plugin_of(smtp_mail, name="bad"), options=HostOptions(breaker_errors=2, breaker_pause=30.0), log=log)

    def ask():
        return asyncio.run(host.smtp_mail.verdict(session=None, transaction=None, sender=None, params={}))

    assert [ask().verdict.code for _ in range(5)] == [451] * 5
    assert len(called) == 2
    assert ask().steps[0]["error"] == "not called: its circuit breaker is open"
    assert len(log.named("plugin.suspended")) == 1
    assert host.health()[0].state == "suspended"
    host.plugins["bad"].breaker.open_until = 1e-9  # the pause is over
    assert ask().verdict is None
    assert log.named("plugin.recovered")
    assert host.health()[0].state == "ok"
    assert host.health()[0].hooks[0].errors == 2
