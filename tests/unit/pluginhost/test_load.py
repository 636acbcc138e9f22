"""Loading: one broken plugin harms nobody else, and says what is the matter with it."""

import sys
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from mta.model.errors import ConfigError
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl


class Entry:
    def __init__(self, name, load, dist="dist") -> None:
        self.name = name
        self.load = load
        self.dist = SimpleNamespace(name=dist, version="1.2")


def loaded(plugins, *entries, log=None):
    host = host_with(log=log or RecordingLog())
    host.load(plugins, lambda key: f"mta.yaml:{len(key)}", lambda name: [e for e in entries if e.name == name])
    return host


@hookimpl
def smtp_mail(): ...


def raising(exc):
    def load():
        raise exc

    return load


good = Entry("good", lambda: plugin_of(smtp_mail, name="good"))


def backend_plugin(scheme="sqlite"):
    @hookimpl
    def register(registry):
        registry.backend("database", scheme, lambda url, options: (url, options))

    return plugin_of(register, name="sql")


@pytest.mark.parametrize(
    "load",
    [raising(ImportError("no module named x")), raising(SystemExit(2)), raising(SyntaxError("bad")), raising(MemoryError())],
)
def test_a_plugin_that_cannot_be_imported_is_left_out(load) -> None:
    log = RecordingLog()
    host = loaded({"bad": {}, "good": {}}, Entry("bad", load), good, log=log)
    assert [(h.name, h.state) for h in host.health()] == [("good", "ok"), ("bad", "failed")]
    (line,) = log.named("plugin.failed")
    assert line["plugin"] == "bad"
    assert line["reason"]
    assert host.smtp_mail is not None


def test_required_makes_it_an_error_with_file_and_line() -> None:
    with pytest.raises(ConfigError, match=r"mta.yaml:11: plugins.bad: ImportError: no x \(.*test_load.py:\d+\)"):
        loaded({"bad": {"required": True}}, Entry("bad", raising(ImportError("no x"))))


def test_not_installed_names_what_is() -> None:
    host = loaded({"dkimm": None})
    assert host.failed["dkimm"].reason.startswith("not installed; did you mean dkim?")


def test_a_name_claimed_twice_is_refused() -> None:
    host = loaded({"good": {}}, good, Entry("good", lambda: plugin_of(smtp_mail), "other"))
    assert host.failed["good"].reason == "several distributions provide this name: dist, other"
    assert host.smtp_mail is None


def test_the_engine_s_names_are_its_own() -> None:
    assert "engine's own" in loaded({"directory": {}}, Entry("directory", lambda: plugin_of(smtp_mail))).failed["directory"].reason


def test_a_class_is_instantiated() -> None:
    class Plugin:
        def __init__(self) -> None:
            self.made = True

        @hookimpl
        def smtp_mail(self, session): ...

    host = loaded({"p": {}}, Entry("p", lambda: Plugin))
    assert host.plugins["p"].object.made
    assert host.health()[0].version == "1.2"
    assert host.health()[0].path == sys.modules[__name__].__file__


def test_a_class_that_cannot_be_made_is_left_out() -> None:
    class Plugin:
        def __init__(self, wanted) -> None: ...

    assert "TypeError" in loaded({"p": {}}, Entry("p", lambda: Plugin)).failed["p"].reason


def test_config_is_checked_and_reaches_ctx() -> None:
    class Config(BaseModel):
        zones: list[str] = []

    @hookimpl
    def register(registry):
        registry.config(Config)

    entry = Entry("dnsbl", lambda: plugin_of(register, smtp_mail, name="dnsbl"))
    host = loaded({"dnsbl": {"zones": ["a"], "timeout": "3s"}}, entry)
    assert host.plugins["dnsbl"].context.config == Config(zones=["a"])
    assert host.smtp_mail.steps[0].timeout == 3.0
    with pytest.raises(ConfigError, match=r"mta.yaml:19: plugins.dnsbl.zonez: unknown key; did you mean zones"):
        loaded({"dnsbl": {"zonez": []}}, entry)


def test_backends_are_found_and_make_their_plugin_required() -> None:
    host = loaded({"sql": {}}, Entry("sql", backend_plugin))
    assert host.backend("database", "sqlite")("u", "o") == ("u", "o")
    assert host.plugins["sql"].required
    with pytest.raises(ConfigError, match=r"no plugin offers the database backend oracle.*one of: sqlite"):
        host.backend("database", "oracle")


def test_a_missing_backend_names_the_plugin_that_failed() -> None:
    host = loaded({"sql": {}}, Entry("sql", raising(ImportError("psycopg"))))
    with pytest.raises(ConfigError, match=r"plugin sql failed: ImportError: psycopg"):
        host.backend("database", "sqlite")


def test_two_plugins_with_one_backend_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"mta.yaml:12: plugins.sql2: brings the database backend sqlite, and so does sql"):
        loaded({"sql": {}, "sql2": {}}, Entry("sql", backend_plugin), Entry("sql2", backend_plugin))


def test_register_that_fails_or_offers_nonsense() -> None:
    @hookimpl
    def register(registry):
        registry.config(dict)

    assert "pydantic" in loaded({"p": {}}, Entry("p", lambda: plugin_of(register))).failed["p"].reason


def test_an_instance_that_two_names_share_is_taken_once() -> None:
    plugin = plugin_of(smtp_mail, name="shared")
    host = loaded({"a": {}, "b": {}}, Entry("a", lambda: plugin), Entry("b", lambda: plugin))
    assert list(host.plugins) == ["a"]
    assert "b" in host.failed


def test_a_circle_in_the_config_s_order_names_the_section() -> None:
    def plugin(name, **options):
        @hookimpl(**options)
        def smtp_mail(): ...

        return Entry(name, lambda: plugin_of(smtp_mail, name=name))

    with pytest.raises(ConfigError, match=r"mta.yaml:9: hooks.smtp_mail: before/after of a, b form a circle"):
        loaded({"a": {}, "b": {}}, plugin("a", before="b"), plugin("b", before="a"))
