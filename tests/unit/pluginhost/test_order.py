"""Order: before and after, then the config's list; drop-ins and built-ins behind; circles refused; every place explained."""

import pytest

from mta.model.errors import ConfigError
from mta.testing.plugins import host_with, plugin_of
from mta_hooks import hookimpl


def plugin(name, *, roles=(), **options):
    @hookimpl(**options)
    def smtp_mail(): ...

    return plugin_of(smtp_mail, name=name, roles=roles)


def names(host) -> list[str]:
    return [name for name, _ in host.order("smtp_mail")]


def test_the_list_decides() -> None:
    assert names(host_with(plugin("b"), plugin("a"), plugin("c"))) == ["b", "a", "c"]


def test_before_and_after_move_only_what_they_name() -> None:
    assert names(host_with(plugin("a"), plugin("b"), plugin("c", before="a"), plugin("d"))) == ["c", "a", "b", "d"]
    assert names(host_with(plugin("a", after=("c", "nobody")), plugin("b"), plugin("c"))) == ["b", "c", "a"]


def test_roles_are_named_like_plugins() -> None:
    host = host_with(plugin("x", after="dkim-verify"), plugin("y"), plugin("z", roles=("dkim-verify",)))
    assert names(host) == ["y", "z", "x"]
    assert names(host_with(plugin("x", after="r"), plugin("z", roles="r"))) == ["z", "x"]


def test_built_ins_are_last_and_drop_ins_before_them_by_name() -> None:
    host = host_with(plugin("z"))
    host.add_builtin("directory", plugin("directory"))
    for name in ("d2", "d1"):
        host.change(add=[host.make(name, plugin(name), "drop-in")])
    assert names(host) == ["z", "d1", "d2", "directory"]
    assert dict(host.order("smtp_mail")) == {
        "z": "number 1 in plugins",
        "d1": "a drop-in hook, by name after the listed plugins",
        "d2": "a drop-in hook, by name after the listed plugins",
        "directory": "built in, last",
    }


def test_the_reason_names_both_sides() -> None:
    host = host_with(plugin("a"), plugin("b", before="a"))
    assert host.order("smtp_mail") == [("b", "before a, number 2 in plugins"), ("a", "after b, number 1 in plugins")]


def test_a_circle_is_an_error_and_changes_nothing() -> None:
    host = host_with(plugin("a"), plugin("b", before="a"))
    with pytest.raises(ConfigError, match="a, b, c form a circle"):
        host.change(add=[host.make("c", plugin("c", before="b", after="a"), "drop-in")])
    assert names(host) == ["b", "a"]
    host.change(add=[host.make("c", plugin("c"), "drop-in")])
    assert names(host) == ["b", "a", "c"]


def test_no_such_hook() -> None:
    with pytest.raises(KeyError):
        host_with().order("smtp_male")
    assert host_with().order("smtp_mail") == []
