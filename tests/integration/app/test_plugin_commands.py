"""``mta <plugin> …``: commands of plugins, before the first start and after, beside broken ones, and in the list of ``--help``."""
# SPDX-License-Identifier: Apache-2.0

import json
import logging
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.cli.main import main
from mta.cli.plugins_tables import tell_of_tables
from mta_hooks.backends import SchemaRecord

NOTES = '''"""Notes: what the operator wants to remember.

More of it.
"""
import click
import sqlalchemy as sa
from mta_hooks import hookimpl

METADATA = sa.MetaData()
NOTES = sa.Table("notes_all", METADATA, sa.Column("text", sa.Text, primary_key=True))

@click.group()
def notes():
    """Keep notes. Example: mta notes list"""

@notes.command()
@click.argument("text")
@click.pass_obj
async def add(ctx, text):
    """Add one. Example: mta notes add milk"""
    await ctx.db.write(NOTES.insert().values(text=text))
    await ctx.kv.set("last", text.encode())

@notes.command("list")
@click.pass_obj
async def list_(ctx):
    """List all. Example: mta notes list"""
    rows = await ctx.db.read(NOTES.select().order_by(NOTES.c.text))
    click.echo(" ".join(row.text for row in rows) + " last " + (await ctx.kv.get("last")).decode())
    return 3 if not rows else None

@notes.command()
@click.pass_obj
def where(ctx):
    """Say it without the database. Example: mta notes where"""
    click.echo(f"{ctx.plugin} at {ctx.hostname} {ctx.config['place']}")

@hookimpl
def register(registry):
    registry.schema(METADATA)
    registry.cli(notes)
'''
BROKEN = "import not_to_be_found\n# registry.cli( is what it would have said\n"
QUEUE = "import click\nfrom mta_hooks import hookimpl\n@hookimpl\ndef register(registry):\n    registry.cli(click.Command('x'))\n"
PLAIN = "from mta_hooks import hookimpl\n@hookimpl\ndef smtp_ehlo(session):\n    return None\n"


class Installed:
    """Plugins as distributions on the path, and a config that lists them; ``mta`` runs in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        for name, text in {"notes": NOTES, "broken": BROKEN, "queue": QUEUE, "plain": PLAIN, "off": NOTES}.items():
            (folder / f"t_{name}.py").write_text(text)
            info = folder / f"t_{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: t-{name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[mta.plugins]\n{name} = t_{name}\n")
        plugins = {"broken": {}, "notes": {"place": "here"}, "queue": {}, "plain": {}, "sql": {}}
        account = pwd.getpwuid(os.geteuid()).pw_name
        self.config: dict[str, Any] = {
            "hostname": "mx.example.test",
            "data_dir": str(folder / "data"),
            "user": account,
            "plugins": plugins,
        }
        self.write()

    def write(self) -> None:
        (self.folder / "mta.yaml").write_text(json.dumps(self.config))

    def mta(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out.out, out.err


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Installed]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MTA_CONFIG", str(tmp_path / "mta.yaml"))
    handlers, level = logging.getLogger("mta").handlers[:], logging.getLogger("mta").level
    yield Installed(tmp_path, capsys)
    logging.getLogger("mta").handlers[:] = handlers
    logging.getLogger("mta").setLevel(level)
    for name in [name for name in sys.modules if name.startswith("t_")]:
        del sys.modules[name]


def test_commands_work_before_the_first_start_and_keep_what_they_wrote(installed: Installed, tmp_path: Path) -> None:
    assert installed.mta("notes", "where") == (0, "notes at mx.example.test here\n", "")
    assert not (tmp_path / "data").exists()  # a def asks for no database
    for text in ("milk", "eggs"):
        assert installed.mta("notes", "add", text)[0] == 0
    assert installed.mta("notes", "list")[:2] == (0, "eggs milk last eggs\n")
    status, _, problem = installed.mta("notes", "add", "milk")
    assert (status, "notes_all.text" in problem) == (73, True)
    status, text, _ = installed.mta("notes", "add", "--help")
    assert (status, "Example: mta notes add milk" in text) == (0, True)


def test_help_lists_what_is_enabled_and_imports_none_of_it(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "t_notes.py").write_text(NOTES + "\nraise SystemExit('imported')\n")
    status, text, problem = installed.mta("--help")
    assert (status, problem) == (0, "")
    below = text.partition("Commands of plugins:")[2]
    assert [line.split()[0] for line in below.strip().splitlines()] == ["broken", "notes", "queue"]
    assert "notes   Notes: what the operator wants to remember." in below
    (tmp_path / "mta.yaml").unlink()
    status, text, _ = installed.mta("--help")
    assert (status, "Commands of plugins" in text) == (0, False)


def test_what_is_not_there_says_so(installed: Installed, tmp_path: Path) -> None:
    status, _, problem = installed.mta("broken", "list")
    assert status == 78
    assert "plugins.broken" in problem
    assert "not_to_be_found" in problem
    assert "t_broken.py:1" in problem
    status, _, problem = installed.mta("plain", "list")
    assert (status, "plugin plain has no commands" in problem) == (64, True)
    status, _, problem = installed.mta("off", "list")  # installed, not listed
    assert (status, "No such command 'off'" in problem) == (64, True)
    assert installed.mta("queue", "stats", "--count")[1] == "0\n"  # the core's, whatever a plugin of that name says
    assert "mta queue is a command of the server" in installed.mta("plugins", "list", "--json")[1]


def test_no_plugin_breaks_the_commands_of_another(installed: Installed, tmp_path: Path) -> None:
    installed.config["plugins"]["broken"] = {"required": True}
    installed.write()
    assert installed.mta("notes", "add", "milk")[0] == 0


ELSEWHERE = NOTES.replace(
    "@hookimpl",
    '''
@notes.command()
@click.option("--deed")
@click.argument("file", type=click.File())
def read(file, deed):
    """Read a file, say who we are. Example: mta notes read -"""
    import os, sys
    click.echo(f"{file.read()} {os.getuid()} {os.getcwd()} {sys.stdin.isatty()}")
    click.echo("aside", err=True)
    if deed == "break":
        raise ValueError("broken")
    if deed == "die":
        os._exit(9)
    return 5

@hookimpl''',
)


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """The plugin in a process of its own; ``mta`` runs in one too, because its standard output is what the command writes to."""
    with tempfile.TemporaryDirectory(prefix="mta-commands-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "t_notes.py").write_text(ELSEWHERE)
        info = folder / "t_notes-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t-notes\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mta.plugins]\nnotes = t_notes\n")
        plugins = {"notes": {"place": "here", "isolate": "process"}, "sql": {}}
        account = pwd.getpwuid(os.geteuid()).pw_name
        config = {"hostname": "mx.example.test", "data_dir": str(folder / "data"), "user": account, "plugins": plugins}
        (folder / "mta.yaml").write_text(json.dumps(config))

        def mta(*words: str, given: str = "") -> tuple[int, str, str]:
            env = {**os.environ, "PYTHONPATH": name, "MTA_CONFIG": str(folder / "mta.yaml")}
            command = [sys.executable, "-m", "mta.cli.main", *words]
            done = subprocess.run(
                command, check=False, input=given, capture_output=True, text=True, env=env, cwd=folder, timeout=60
            )
            return done.returncode, done.stdout, done.stderr

        yield mta


def test_a_command_in_a_process_of_its_own(elsewhere: Any) -> None:
    """With the plugin's account and limits; words, terminal and statuses are those of whoever calls it."""
    assert elsewhere("notes", "add", "milk") == (0, "", "")
    assert elsewhere("notes", "list")[:2] == (0, "milk last milk\n")
    status, _, problem = elsewhere("notes", "add", "milk")
    assert (status, "notes_all.text" in problem) == (73, True)
    status, out, _ = elsewhere("notes", "add", "--help")
    assert (status, "Example: mta notes add milk" in out, "Usage: mta notes add" in out) == (0, True, True)
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    status, out, err = elsewhere("notes", "read", "-", given="from here")
    assert (status, err) == (5, "aside\n")
    assert out.startswith(f"from here {uid} /tmp/mta-commands-")
    assert out.endswith(" False\n")
    status, _, err = elsewhere("notes", "read", "t_notes.py", "--deed", "break")
    assert (status, "ValueError: broken" in err) == (1, True)
    status, _, err = elsewhere("notes", "read", "t_notes.py", "--deed", "die")
    assert (status, "mta: plugin notes: its process failed" in err) == (75, True), err


def test_tables_stay_when_their_plugin_goes_and_the_list_says_so(installed: Installed, tmp_path: Path) -> None:
    assert installed.mta("notes", "add", "milk")[0] == 0
    installed.config["plugins"] = {"sql": {}}
    installed.write()
    (tmp_path / "t_notes-1.0.dist-info/entry_points.txt").unlink()
    rows = {row["name"]: row for row in json.loads(installed.mta("plugins", "list", "--json")[1])}
    assert (rows["notes"]["state"], rows["notes"]["tables"]) == ("gone", ["notes_all"])
    assert rows["notes"]["reason"] == "not installed; its tables stay in the database: notes_all"
    assert rows["sql"]["tables"] == []


def test_whose_tables_they_are() -> None:
    rows = [{"name": "on", "state": "ok", "reason": ""}, {"name": "off", "state": "off", "reason": "not listed in the config"}]
    records = [SchemaRecord("off", 1, ("off_a", "off_b")), SchemaRecord("on", 2, ("on_a",))]
    tell_of_tables(rows, records, as_json=True)
    assert [(row["tables"], row["reason"]) for row in rows] == [
        (["on_a"], ""),
        (["off_a", "off_b"], "not listed in the config; its tables stay in the database: off_a, off_b"),
    ]
