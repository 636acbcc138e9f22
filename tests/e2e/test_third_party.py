"""A third party's distribution at home: from ``mta plugins new`` to mail through it, and over an upgrade of mta.

Real wheels of mta and of the plugin, a fresh virtual environment, no network. What mta depends on is not installed a second time:
the environment reads it from a folder of links to the test environment's packages, which leaves the editable mta out.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import hashlib
import json
import os
import re
import shutil
import smtplib
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from mta.testing.server import MailServer, ServerFailed, wait_until

ROOT = Path(__file__).resolve().parents[2]
ALICE = "alice@example.test"
CONFIG = 78
ONLY_THE_WHEEL = {"PYTHONPATH": ""}
"""No tree on the path of whoever runs the tests hides what is installed."""


class Home:
    """A virtual environment with mta's wheel, and a folder of wheels that stands for a package index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.python = folder / "venv/bin/python"
        self.mta = self.build_mta("")
        self._make_venv()
        self.install_mta(self.mta)

    def run(self, *words: object, cwd: Path | None = None) -> str:
        env = {**os.environ, **ONLY_THE_WHEEL}
        done = subprocess.run(
            [str(w) for w in words], capture_output=True, text=True, timeout=60, cwd=cwd or self.folder, env=env, check=False
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def build(self, source: Path, target: Path) -> Path:
        words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
        self.run(sys.executable, "-m", "pip", *words, "--wheel-dir", target, source)
        return max(target.glob("*.whl"), key=lambda p: p.stat().st_mtime_ns)

    def build_mta(self, version: str) -> Path:
        """From a copy of the tree, so that the version can be another."""
        tree = self.folder / f"tree{version}"
        for name in ("mta", "hooks", "plugins"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, tree / name)
        if version:
            for path, form in ((tree / "pyproject.toml", "version = "), (tree / "mta/__init__.py", "__version__ = ")):
                path.write_text(re.sub(rf'(?m)^{form}".*"', f'{form}"{version}"', path.read_text(), count=1))
        return self.build(tree, self.folder / f"mta{version}")

    def _make_venv(self) -> None:
        self.run(sys.executable, "-m", "venv", "--without-pip", self.folder / "venv")
        links = self.folder / "dependencies"
        links.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not re.match(r"mta|_?_editable|_mta|.*\.pth\Z", entry.name):
                (links / entry.name).symlink_to(entry)
        site = next((self.folder / "venv/lib").glob("python*/site-packages"))
        (site / "dependencies.pth").write_text(f"{links}\n")

    def install_mta(self, wheel: Path) -> None:
        self.run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)

    def add_wheel(self, name: str, source: str, *, version: str = "1.0", requires: str = "") -> Path:
        """A distribution ``mta-NAME`` in the index, made by hand: the plugin NAME is the module ``mta_NAME``."""
        info = f"mta_{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: mta-{name}\nVersion: {version}\n" + (
            f"Requires-Dist: {requires}\n" if requires else ""
        )
        files = {
            f"mta_{name}.py": source,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[mta.plugins]\n{name} = mta_{name}\n",
        }
        return write_wheel(self.index / f"mta_{name}-{version}-py3-none-any.whl", f"{info}/RECORD", files)


def write_wheel(path: Path, record: str, files: Mapping[str, str]) -> Path:
    lines = []
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            lines.append(f"{name},sha256={digest},{len(text)}")
        archive.writestr(record, "\n".join([*lines, f"{record},,", ""]))
    return path


class Server(MailServer):
    """A server of the virtual environment."""

    def __init__(self, home: Home, *users: str) -> None:
        super().__init__({"workers": 1}, users=users, protocols=("smtp", "imap"), env=ONLY_THE_WHEEL)
        self.home = home
        self.serve_options: tuple[str, ...] = ()
        self.text = yaml.safe_dump({k: v for k, v in self.config.items() if k != "plugins"})
        self.text += "plugins:   # in this order\n  sql: {}   # where everything is\n# the end\n"

    def prepare(self) -> None:
        if not self._prepared:
            super().prepare()
            self.write_config(self.text)

    def program(self, name: str) -> str:  # type: ignore[override]  # ours is not beside this interpreter
        return str(self.home.python.parent / name)

    def command(self, *words: str) -> list[str]:
        return super().command(*words, *(self.serve_options if words == ("serve",) else ()))

    def plugins(self, *words: str, status: int = 0) -> str:
        """``mta plugins WORDS``: standard output and error."""
        done = self.cli("plugins", *words, check=False)
        text = (done.stdout + done.stderr).decode()
        assert done.returncode == status, f"mta plugins {' '.join(words)}: {done.returncode}\n{text}"
        return text

    def install(self, *words: str, status: int = 0) -> str:
        return self.plugins("install", "--no-index", "--find-links", str(self.home.index), "--yes", *words, status=status)

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in json.loads(self.cli("plugins", "list", "--json").stdout)}

    def send(self, sender: str) -> None:
        with self.smtp() as client:
            client.sendmail(sender, [ALICE], b"Subject: hi\r\n\r\nhi\r\n")

    def refuses(self, sender: str) -> str:
        """What the sender reads; "" when the mail is taken."""
        try:
            self.send(sender)
        except smtplib.SMTPSenderRefused as exc:
            return f"{exc.smtp_code} {exc.smtp_error.decode()}"
        return ""

    def inbox(self) -> int:
        with self.imap(ALICE) as box:
            return int(box.select()[1][0])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def server(home) -> Iterator[Server]:
    """With a mailbox, not yet started."""
    yield from made(Server(home, ALICE))


@pytest.fixture
def idle(home) -> Iterator[Server]:
    """For commands alone."""
    yield from made(Server(home))


def made(server: Server) -> Iterator[Server]:
    try:
        server.prepare()
        yield server
    finally:
        server.close()


REFUSER = """\
from mta_hooks import hookimpl, reject
api = ">=1.0,<2"
@hookimpl
def smtp_mail(sender, ctx):
    return reject("not from there") if sender and sender.domain == "spam.example" else None
"""


def test_safe_mode_leaves_third_parties_out_over_reloads(home, server):
    home.add_wheel("refuser", REFUSER)
    server.install("mta-refuser")
    server.plugins("enable", "refuser", "--yes")
    server.serve_options = ("--safe-mode",)
    server.start()
    assert server.refuses("bob@spam.example") == ""
    assert "safe mode: without refuser" in server.log_now
    server.cli("reload")
    assert server.refuses("bob@spam.example") == ""
    server.stop()
    server.serve_options = ()
    server.start()
    assert "not from there" in server.refuses("bob@spam.example")


def test_a_broken_plugin_is_not_enabled_and_stops_nobody_unless_required(home, server):
    home.add_wheel("broken", "import os\n\nraise RuntimeError('no such luck')\n")
    server.install("mta-broken")
    assert re.search(r"no such luck \(.*mta_broken\.py:3\)", server.plugins("enable", "broken", "--yes", status=CONFIG))
    assert server.config_file.read_text() == server.text
    assert re.search(r"broken +fail +.*mta_broken\.py:3: RuntimeError: no such luck", server.plugins("check", status=CONFIG))

    server.write_config(server.text.replace("# the end", "  broken: {}\n"))
    server.start()
    server.wait_for_log("plugin.failed.*broken")
    server.send("bob@example.org")
    assert server.inbox() == 1
    assert server.states()["broken"] == "failed"
    assert server.stop() == 0

    server.write_config(server.text.replace("# the end", "  broken: {required: true}\n"))
    with pytest.raises(ServerFailed, match="no such luck"):
        server.start()


def test_what_the_server_depends_on_is_never_changed(home, idle):
    home.add_wheel("greedy", "", requires="pydantic>=99")
    before = sorted(p.name for p in home.folder.glob("venv/lib/*/site-packages/*"))
    said = idle.install("mta-greedy", status=69)
    assert "pydantic" in said
    assert "mta-greedy" not in idle.plugins("list")
    assert not (idle.data_dir / "plugins/site").exists()
    assert sorted(p.name for p in home.folder.glob("venv/lib/*/site-packages/*")) == before


def test_a_name_of_the_server_cannot_be_taken(home, idle):
    home.add_wheel("sql", "raise SystemExit", version="9.0")
    assert "mta-server" in idle.install("mta-sql", status=64)
    assert idle.states()["sql"] == "ok"


def test_a_file_that_was_changed_is_not_installed(home, idle):
    wheel = home.add_wheel("refuser", REFUSER)
    idle.install("mta-refuser")
    kept = idle.data_dir / "plugins/wheels" / wheel.name
    kept.write_bytes(kept.read_bytes() + b"\0")
    assert "not the file that was locked" in idle.plugins("doctor", status=1)
    before = os.readlink(idle.data_dir / "plugins/site")
    idle.plugins("sync", "--no-index", status=69)
    assert os.readlink(idle.data_dir / "plugins/site") == before
    idle.plugins("sync", "--no-index", "--find-links", str(home.index))
    assert kept.read_bytes() == wheel.read_bytes()
    assert "not the file" not in idle.plugins("doctor")


@pytest.mark.timeout(240)  # 15 s on a quiet machine
def test_from_a_scaffold_to_mail_and_over_an_upgrade_of_mta(home, server, tmp_path):
    package = tmp_path / "mta-greet"
    server.plugins("new", "greet", "--dir", str(package))
    assert "passed" in home.run(home.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=_importable(package))
    wheel = home.build(package, home.index)

    said = server.install("mta-greet")
    assert "hooks: delivered, smtp_mail" in said
    assert "asks for: keeps data of its own" in said
    lock = (server.data_dir / "plugins/lock.txt").read_text()
    assert f"mta-greet==0.1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in lock
    assert server.states()["greet"] == "off"

    server.plugins("enable", "greet", "--set", "domains=[spam.example]", "--yes")
    entry = '  greet:\n    domains: ["spam.example"]\n'
    assert server.config_file.read_text() == server.text.replace("# the end", f"{entry}# the end")
    assert server.config_file.with_name("mta.yaml.bak").read_text() == server.text
    server.start()
    _serves_with_greet(server, 1)
    server.stop()

    version = "0.1.99"
    home.install_mta(home.build_mta(version))
    assert f"version {version}" in server.cli("--version").stdout.decode()
    assert re.search(rf"built for mta \S+, this is {version}", server.plugins("doctor"))
    server.plugins("sync", "--no-index")
    assert "Fix" not in server.plugins("doctor")
    server.start()
    _serves_with_greet(server, 2)

    server.plugins("disable", "greet")
    server.cli("reload")
    assert server.refuses("bob@spam.example") == ""
    server.plugins("enable", "greet", "--yes")
    assert server.config_file.read_text() == server.text.replace("# the end", f"{entry}# the end")


def _importable(package: Path) -> Path:
    """The package's own tests run from its folder, before anything of it is installed."""
    (package / "conftest.py").write_text("import sys\nfrom pathlib import Path\n\nsys.path.insert(0, str(Path(__file__).parent))\n")
    return package


def _serves_with_greet(server: Server, mails: int) -> None:
    assert server.refuses("bob@spam.example") == "550 5.7.1 we take no mail from there"
    server.send("bob@example.org")
    assert server.inbox() == mails
    wait_until(lambda: "greet.delivered" in server.log_now, 10, "the durable hook")
