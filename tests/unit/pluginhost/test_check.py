"""What cannot be called is refused at load, with the remedy."""

import pluggy
import pytest

from mta.pluginhost.check import PluginRefused, check, check_api
from mta.testing.plugins import plugin_of
from mta_hooks import hookimpl


def refusal(function, **attributes) -> PluginRefused:
    with pytest.raises(PluginRefused) as caught:
        check(plugin_of(function, **attributes))
    return caught.value


def test_a_mistyped_hook_names_the_nearest() -> None:
    @hookimpl
    def smtp_rctp(session): ...

    exc = refusal(smtp_rctp)
    assert exc.problem == "there is no hook smtp_rctp; did you mean smtp_rcpt?"
    assert exc.file.endswith("test_check.py")
    assert exc.line > 0


def test_a_wrong_argument_is_refused_with_the_right_ones() -> None:
    @hookimpl
    def smtp_rcpt(sesion): ...

    assert refusal(smtp_rcpt).problem == (
        "smtp_rcpt has no argument sesion; it has session, transaction, recipient, params, ctx; did you mean session?"
    )


def test_catch_all_and_keyword_only_arguments_are_refused() -> None:
    @hookimpl
    def smtp_rcpt(session, **rest): ...

    assert "**rest cannot be passed" in refusal(smtp_rcpt).problem

    @hookimpl
    def smtp_mail(*, session): ...

    assert "session cannot be passed" in refusal(smtp_mail).problem


def test_generators_and_wrappers_are_refused() -> None:
    @hookimpl
    def smtp_mail():
        yield

    assert "contains yield" in refusal(smtp_mail).problem

    @hookimpl
    async def smtp_ehlo():
        yield

    assert "contains yield" in refusal(smtp_ehlo).problem

    @pluggy.HookimplMarker("mta")(wrapper=True)
    def smtp_rcpt():
        return (yield)

    assert "wrappers are not supported" in refusal(smtp_rcpt).problem

    @pluggy.HookimplMarker("mta")
    def smtp_connect(): ...

    assert "use mta_hooks.hookimpl" in refusal(smtp_connect).problem


def test_register_may_not_be_async() -> None:
    @hookimpl
    async def register(registry): ...

    assert "must be def" in refusal(register).problem


@pytest.mark.parametrize("wanted", ["", ">=1.0", ">=1.0,<2", "==1.0", "> 0.9 , <= 1"])
def test_api_that_fits(wanted) -> None:
    check_api(wanted)


@pytest.mark.parametrize("wanted", [">=1.1", "<1", ">=2,<3", "~=1.0", "1.0", ">1.0"])
def test_api_that_does_not(wanted) -> None:
    with pytest.raises(PluginRefused):
        check_api(wanted)


def test_marks_elsewhere_and_properties_are_left_alone() -> None:
    class Plugin:
        @property
        def explodes(self):
            raise RuntimeError

        @hookimpl
        def smtp_mail(self, session): ...

    check(Plugin())
