"""Order: before and after, then the config's list; drop-ins and built-ins behind; circles refused; every place explained."""

import pytest

from mta.model.errors import ConfigError
from mta.pluginhost.orders import read_orders
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


# ---- the administrator's order


def ordered(said, *plugins):
    host = host_with()
    host.orders = read_orders({"smtp_mail": said}, lambda key: f"mta.yaml:{len(key)}")
    for place, one in enumerate(plugins):
        host.change(add=[host.make(one.__name__, one, "package", place)])
    return host


def test_a_list_goes_first_and_last_around_the_others() -> None:
    everybody = [plugin(name) for name in "abcd"]
    assert names(ordered(["c", "a"], *everybody)) == ["c", "a", "b", "d"]
    assert names(ordered(["*", "a"], *everybody)) == ["b", "c", "d", "a"]
    assert names(ordered(["d", "*", "b", "a"], *everybody)) == ["d", "c", "b", "a"]
    assert names(ordered(["*"], *everybody)) == ["a", "b", "c", "d"]


def test_it_wins_over_before_after_and_roles_and_says_so() -> None:
    host = ordered(["b", "a"], plugin("a", before=("b", "c")), plugin("c"), plugin("b", roles="r"), plugin("d", before="r"))
    assert names(host) == ["b", "a", "c", "d"]
    reasons = dict(host.order("smtp_mail"))
    assert reasons["b"].startswith("administrator: number 1 of order (mta.yaml:15), not after a: the administrator's order wins")
    assert "role r" in reasons["b"]
    assert reasons["c"] == "administrator: behind b, a (mta.yaml:15), number 2 in plugins"


def test_pins_move_only_what_they_name() -> None:
    host = ordered({"c": {"before": "a"}, "b": {"after": ["d", "nobody"]}}, *[plugin(name) for name in "abcd"])
    assert names(host) == ["c", "a", "d", "b"]
    assert dict(host.order("smtp_mail"))["b"] == "administrator: b after d (mta.yaml:23), number 2 in plugins"


def test_a_wish_that_closes_a_circle_by_way_of_others_gives_way() -> None:
    host = ordered({"c": {"before": "a"}}, plugin("a", before="b"), plugin("b", before="c"), plugin("c"))
    assert names(host) in (["b", "c", "a"], ["c", "a", "b"])


def test_built_ins_can_be_moved_too() -> None:
    host = ordered(["directory", "a"], plugin("a"))
    host.add_builtin("directory", plugin("directory"))
    assert names(host) == ["directory", "a"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"a": {"before": "b"}, "b": {"before": "a"}}, "mta.yaml:24: order.smtp_mail: what it says of a, b forms a circle"),
        ({"a": {"before": "a"}}, "puts a before itself"),
        (["a", "b", "a"], "names a twice"),
        ("a", "must be a list of plugins"),
        ([1], "must be a list of plugins"),
        ({"a": "b"}, "must say before or after"),
        ({"a": {"behind": "b"}}, "must say before or after"),
        ({"a": {"after": 3}}, "must be names of plugins or roles"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_its_place(said, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        ordered(said, plugin("a"), plugin("b"))


def test_a_hook_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"order.smtp_male: there is no hook smtp_male; did you mean smtp_mail"):
        read_orders({"smtp_male": ["a"]}, lambda key: "mta.yaml:3")
    with pytest.raises(ConfigError, match="called while loading"):
        read_orders({"register": ["a"]}, lambda key: "mta.yaml:3")
