"""The plugin environment: pins, lock, generations, trust; pip is a fake."""
# SPDX-License-Identifier: Apache-2.0

import sys
from pathlib import Path
from typing import Any

import pytest

from mta.config.safe import SAFE_MODE
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost import environment as module
from mta.pluginhost.environment import Environment, installed_in, server_distributions
from mta.pluginhost.install import Installer, NotInstalled, name_of
from mta.pluginhost.lock import Locked, lock_text, read_lock
from mta.pluginhost.look import looks
from mta.pluginhost.pip import PipFailed, Resolved, Sources


class FakePip:
    """Resolves to what ``world`` says, pins obeyed; a wheel is a file with its name in it."""

    def __init__(self, world: dict[str, str]) -> None:
        self.world = world
        self.pins: list[str] = []
        self.asked: list[str] = []
        self.fail = False

    def resolve(self, requirements: Any, constraints: Any, sources: Sources) -> list[Resolved]:
        self.pins, self.asked = list(constraints), list(requirements)
        pinned = dict(line.split("==") for line in self.pins)
        out = []
        for text in requirements:
            name = name_of(text) or "from-path"
            version = text.partition("==")[2].split(" ")[0] or pinned.get(name) or self.world[name]
            out.append(Resolved(name, version, f"file:///{name}", "", direct=not name_of(text), asked=True))
        return out

    def fetch(self, wanted: Any, folder: Path, sources: Sources) -> list[Path]:
        if self.fail:
            raise PipFailed("no network")
        for one in wanted:
            (folder / f"{one.name.replace('-', '_')}-{one.version}-py3-none-any.whl").write_text(f"{one.name} {one.version}")
        return sorted(folder.glob("*.whl"))

    def install(self, locked: Any, wheels: Path, target: Path) -> None:
        for entry in locked:
            assert (wheels / entry.wheel).is_file()
            info = target / f"{entry.name}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: {entry.name}\nVersion: {entry.version}\n")

    def conflicts(self, generation: Path) -> list[str]:
        return ["one 1.0 requires mta-server<0, which is not installed.", "server-thing 1 requires x."]


@pytest.fixture
def environment(tmp_path) -> Environment:
    made = Environment(tmp_path)
    with made.changing():
        pass
    return made


def locked(environment: Environment) -> dict[str, str]:
    return {e.name: e.version for e in environment.lock()}


def test_a_change_is_not_in_force_before_it_is_committed(environment) -> None:
    pip = FakePip({"one": "1.0"})
    change = Installer(environment, pip, Sources()).install(["One"])
    assert change.differences() == ["+ one 1.0"]
    assert change.conflicts == ("one 1.0 requires mta-server<0, which is not installed.",)
    assert environment.current() is None
    change.drop()
    assert not change.generation.exists()
    assert locked(environment) == {}


def test_installing_one_holds_the_others_and_the_server(environment) -> None:
    pip = FakePip({"one": "1.0", "two": "1.0"})
    installer = Installer(environment, pip, Sources())
    installer.install(["one"]).commit()
    pip.world = {"one": "2.0", "two": "1.0"}
    installer.install(["two"]).commit()
    assert locked(environment) == {"one": "1.0", "two": "1.0"}
    assert any(pin.startswith("pydantic==") for pin in pip.pins)
    installer.install(["one"]).commit()
    assert locked(environment)["one"] == "1.0"
    installer.install(["one"], upgrade=True).commit()
    assert locked(environment) == {"one": "2.0", "two": "1.0"}
    pip.world = {"one": "3.0", "two": "3.0"}
    installer.install([], upgrade=True).commit()
    assert locked(environment) == {"one": "3.0", "two": "3.0"}
    assert {w.name for w in environment.wheels.iterdir()} == {"one-3.0-py3-none-any.whl", "two-3.0-py3-none-any.whl"}
    assert set(installed_in(environment.current())) == {"one", "two"}


def test_a_path_is_remembered_by_name_and_version(environment) -> None:
    pip = FakePip({"from-path": "1.5", "one": "1.0"})
    installer = Installer(environment, pip, Sources())
    installer.install(["/somewhere/it.whl"]).commit()
    assert environment.requirements() == ["from-path==1.5"]
    installer.install(["one"]).commit()
    assert pip.asked == ["from-path==1.5", "one"]


def test_uninstall_removes_what_was_asked_for_only(environment) -> None:
    pip = FakePip({"one": "1.0", "two": "1.0"})
    installer = Installer(environment, pip, Sources())
    installer.install(["one", "two"]).commit()
    with pytest.raises(NotInstalled, match="three was not asked for; installed by request: one, two"):
        installer.uninstall(["three"])
    installer.uninstall(["ONE"]).commit()
    assert locked(environment) == {"two": "1.0"}
    installer.uninstall(["two"]).commit()
    assert locked(environment) == {}
    assert environment.requirements() == []


def test_sync_needs_no_network_while_the_wheels_are_whole(environment) -> None:
    pip = FakePip({"one": "1.0"})
    installer = Installer(environment, pip, Sources())
    installer.install(["one"]).commit()
    before = environment.current()
    pip.fail = True
    installer.sync().commit()
    assert environment.current() not in (None, before)
    (environment.wheels / "one-1.0-py3-none-any.whl").write_text("changed")
    with pytest.raises(PipFailed):
        installer.sync()


def test_relock_mends_a_damaged_lock(environment) -> None:
    pip = FakePip({"one": "1.0"})
    installer = Installer(environment, pip, Sources())
    installer.install(["one"]).commit()
    environment.lock_file.write_text("one\n")
    with pytest.raises(ConfigError, match=r"lock.txt:1: .*sync --relock"):
        installer.sync()
    installer.relock().commit()
    assert locked(environment) == {"one": "1.0"}


def test_generations_are_kept_for_workers_that_use_them(environment) -> None:
    installer = Installer(environment, FakePip({"one": "1.0"}), Sources())
    for _ in range(5):
        installer.install(["one"], upgrade=True).commit()
    assert sorted(p.name for p in environment.folder.glob("site-*")) == ["site-000003", "site-000004", "site-000005"]
    assert environment.current() == environment.folder / "site-000005"


def test_one_change_at_a_time(environment) -> None:
    with (
        environment.changing(),
        pytest.raises(TemporaryFailure, match="another"),
        Environment(environment.folder.parent).changing(),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mta-greylist", "mta-greylist"),
        ("MTA_Greylist>=1,<2", "mta-greylist"),
        ("x[geo]==1", "x"),
        ("x @ https://example.org/x.whl", "x"),
        ("x ; python_version > '3'", "x"),
        ("./x", ""),
        ("/a/x-1-py3-none-any.whl", ""),
        ("x-1.0-py3-none-any.whl", ""),
        ("https://example.org/x.tar.gz", ""),
        ("git+https://example.org/x", ""),
    ],
)
def test_name_of_a_requirement(text, name) -> None:
    assert name_of(text) == name


def test_a_lock_reads_back(tmp_path) -> None:
    entries = [Locked("b", "1.0+x", "0" * 64, "b-1.0+x-py3-none-any.whl"), Locked("a", "2", "f" * 64, "a-2-cp311-cp311-linux.whl")]
    file = tmp_path / "lock.txt"
    file.write_text(lock_text(entries))
    assert read_lock(file) == entries[::-1]


# ---- sys.path


@pytest.fixture
def path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    module.enter_generation(None)
    monkeypatch.setattr(module, "_named", None)


def test_the_generation_stands_last_and_is_left_for_the_next(environment, path) -> None:
    installer = Installer(environment, FakePip({"one": "1.0"}), Sources())
    installer.install(["one"]).commit()
    module.use(environment.folder.parent)
    before = list(sys.path)
    assert module.enter() == ""
    assert sys.path == [*before, str(environment.folder / "site-000001")]
    assert "one" not in {d.name for d in server_distributions()}
    installer.install(["one"], upgrade=True).commit()
    module.enter()
    assert sys.path == [*before, str(environment.folder / "site-000002")]


def test_safe_mode_keeps_it_off_the_path(environment, path, monkeypatch) -> None:
    Installer(environment, FakePip({"one": "1.0"}), Sources()).install(["one"]).commit()
    module.use(environment.folder.parent)
    monkeypatch.setenv(SAFE_MODE, "1")
    before = list(sys.path)
    module.enter()
    assert sys.path == before


@pytest.mark.parametrize("which", ["folder", "generation"])
def test_what_others_can_write_is_not_run(environment, path, which) -> None:
    Installer(environment, FakePip({"one": "1.0"}), Sources()).install(["one"]).commit()
    current = environment.current()
    assert current is not None
    (environment.folder if which == "folder" else current).chmod(0o775)
    module.use(environment.folder.parent)
    before = list(sys.path)
    assert "chmod go-w" in module.enter()
    assert sys.path == before


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path, path) -> None:
    elsewhere = Environment(tmp_path / "elsewhere")
    with elsewhere.changing():
        Installer(elsewhere, FakePip({"one": "1.0"}), Sources()).install(["one"]).commit()
    (tmp_path / "plugins").symlink_to(elsewhere.folder)
    assert "not a folder" in Environment(tmp_path).distrust()


# ---- what a plugin hooks, without running it

SOURCE = """
import subprocess
from mta_hooks import hookimpl
import mta_hooks
api = ">=1.0,<2"
permissions = ("network",)
raise SystemExit("was run")

@hookimpl
def register(registry):
    registry.backend("database", "odd", None)
    registry.job("sweep", 60, None)

class Plugin:
    @mta_hooks.hookimpl(after="spf")
    async def smtp_rcpt(self, ctx):
        await ctx.http.request("GET", "http://x")

    @hookimpl(specname="delivered")
    def told(self, record): ...

    @staticmethod
    def deliver(): ...
"""


def test_a_look_reads_and_does_not_run(tmp_path) -> None:
    (tmp_path / "odd.py").write_text(SOURCE)
    info = tmp_path / "mta_odd-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mta-odd\nVersion: 1\nSummary: It is odd\nAuthor-email: Ann <ann@example.org>\n")
    (info / "entry_points.txt").write_text("[mta.plugins]\nodd = odd:Plugin\n")
    (info / "RECORD").write_text("odd.py,,\n")
    (look,) = looks(installed_in(tmp_path)["mta-odd"])
    assert look.hooks == ["delivered", "smtp_rcpt"]
    assert look.uses == ["speaks HTTP", "starts programs"]
    assert look.offers == ["backend database odd", "job sweep"]
    assert look.permissions() == ["network"]
    assert look.problem() == ""
    assert "odd: mta-odd 1, by Ann <ann@example.org>: It is odd" in look.lines()
    look.declared["api"] = ">=2"
    assert "this server has" in look.problem()
