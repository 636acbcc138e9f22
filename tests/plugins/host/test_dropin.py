"""Drop-in hooks: saved and at work, changed, broken, mended, removed; never a file that a stranger could have written."""

import asyncio
import os
import textwrap

import pytest

from mta.model.address import Address
from mta.pluginhost.dropin import DropIns
from mta.testing.plugins import FakeMessage, RecordingLog, host_with

SUPPORT = Address("support", "example.org")

HOOK = """
from mta_hooks import hookimpl, Delivered

@hookimpl
async def deliver(recipient, ctx):
    return Delivered(f"{ctx.config.get('word', 'one')} {recipient}")
"""


class Folder:
    def __init__(self, path) -> None:
        self.path = path
        self.log = RecordingLog()
        self.host = host_with(log=self.log)
        self.drop_ins = DropIns(self.host, str(path))

    def save(self, name, text, mode=0o644) -> None:
        file = self.path / name
        file.write_text(textwrap.dedent(text))
        file.chmod(mode)
        self.stamp = getattr(self, "stamp", 1_700_000_000) + 1
        os.utime(file, (self.stamp, self.stamp))
        self.drop_ins.scan()

    def deliver(self, recipient=SUPPORT):
        if self.host.deliver is None:
            return None
        answer = asyncio.run(self.host.deliver.first(recipient=recipient, sender=None, message=FakeMessage()))
        return answer and answer.text

    def reason(self, name="ticket"):
        return self.host.failed[name].reason


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    return Folder(tmp_path)


def test_saved_changed_and_removed(folder) -> None:
    assert folder.deliver() is None
    folder.save("ticket.py", HOOK)
    assert folder.deliver() == "one support@example.org"
    assert folder.log.named("plugin.loaded") == [{"plugin": "ticket", "hooks": "deliver", "again": False}]
    folder.save("ticket.py", HOOK.replace("one", "two"))
    assert folder.deliver() == "two support@example.org"
    folder.save("ticket.yaml", "config: {word: three}")
    assert folder.deliver() == "three support@example.org"
    (folder.path / "ticket.py").unlink()
    folder.drop_ins.scan()
    assert folder.deliver() is None
    assert folder.host.health() == []


def test_an_unchanged_folder_is_not_read_again(folder) -> None:
    folder.save("ticket.py", HOOK)
    plan = folder.host.deliver
    folder.drop_ins.scan()
    assert folder.host.deliver is plan


def test_the_watcher_sees_a_save_by_itself(folder) -> None:
    (folder.path / "ticket.py").write_text(HOOK)

    async def main():
        task = asyncio.ensure_future(folder.drop_ins.run())
        async with asyncio.timeout(5):
            while folder.host.deliver is None:
                await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(main())


BROKEN = {
    "syntax": ("def deliver(:\n", "SyntaxError", 1),
    "import": ("import no_such_module_here\n", "ModuleNotFoundError", 1),
    "exit": ("\nraise SystemExit(1)\n", "SystemExit", 2),
    "argument": (
        HOOK.replace("recipient, ctx", "recipent, ctx"),
        "it has recipient, sender, message, ctx; did you mean recipient?",
        4,
    ),
    "hook": (HOOK.replace("def deliver", "def delivr"), "there is no hook delivr; did you mean deliver?", 4),
    "api": (HOOK + "\napi = '>=2'\n", "it needs api >=2, this server has 1.0", 0),
    "job": (
        "from mta_hooks import hookimpl\n@hookimpl\ndef register(registry):\n    registry.job('x', 5, print)\n",
        "make it a package",
        0,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_version_leaves_the_old_one_at_work(folder, kind) -> None:
    text, problem, line = BROKEN[kind]
    folder.save("ticket.py", HOOK)
    folder.save("ticket.py", text)
    assert folder.deliver() == "one support@example.org"
    assert problem in folder.reason()
    logged = folder.log.named("plugin.failed")[-1]
    assert logged["plugin"] == "ticket"
    assert logged["file"] in (str(folder.path / "ticket.py"), "")
    if line:
        assert (logged["file"], logged["line"]) == (str(folder.path / "ticket.py"), line)
    assert [(h.name, h.state) for h in folder.host.health()] == [("ticket", "ok"), ("ticket", "failed")]
    folder.save("ticket.py", HOOK.replace("one", "mended"))
    assert folder.deliver() == "mended support@example.org"
    assert folder.host.failed == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("confg: {}", "confg: unknown key; did you mean config?"),
        ("when: {recipents: x}", "when.recipents: unknown condition; did you mean recipient?"),
        ("order: {befor: x}", "order.befor: unknown key; did you mean before?"),
        ("order: {before: 3}", "order.before: must be names"),
        ("config: 3", "config: must be a mapping"),
        ("on_error: explode", "on_error: 'explode' is not a policy"),
        ("when: {protocol: 3}", "when.protocol"),
        ("a: [", "not YAML"),
        ("- 1", "must be a mapping"),
    ],
)
def test_settings_are_checked(folder, text, problem) -> None:
    folder.save("ticket.yaml", text)
    folder.save("ticket.py", HOOK)
    assert problem in folder.reason()
    assert folder.deliver() is None


def test_settings_name_their_line(folder) -> None:
    folder.save("ticket.yaml", "config: {}\nconfg: {}\n")
    folder.save("ticket.py", HOOK)
    assert (folder.host.failed["ticket"].file, folder.host.failed["ticket"].line) == (str(folder.path / "ticket.yaml"), 2)


def test_when_and_order_and_switch(folder) -> None:
    folder.save("ticket.yaml", "when: {recipient: 'support@*'}\non_error: continue\ntimeout: 20s\n")
    folder.save("ticket.py", HOOK)
    assert folder.deliver() == "one support@example.org"
    assert folder.deliver(Address("bob", "example.org")) is None
    assert not folder.host.deliver_wants(Address("bob", "example.org"))
    (step,) = folder.host.deliver.steps
    assert (step.on_error, step.timeout) == ("continue", 20.0)
    folder.save("other.py", HOOK.replace("one", "other"))
    folder.save("other.yaml", "order: {before: ticket}")
    assert folder.deliver() == "other support@example.org"
    folder.save("other.yaml", "order: {enabled: false}")
    assert folder.deliver() == "one support@example.org"


def test_a_circle_is_refused_and_the_old_order_stays(folder) -> None:
    folder.save("a.py", HOOK.replace("one", "a"))
    folder.save("b.py", HOOK.replace("one", "b"))
    folder.save("a.yaml", "order: {before: b, after: b}")
    assert "form a circle" in folder.reason("a")
    assert folder.deliver() == "a support@example.org"


def test_a_condition_that_a_hook_cannot_answer_is_refused(folder) -> None:
    folder.save("x.yaml", "when: {recipient: '*'}")
    folder.save("x.py", "from mta_hooks import hookimpl\n@hookimpl\ndef smtp_ehlo(name): ...\n")
    assert "when.recipient cannot be used with smtp_ehlo" in folder.reason("x")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_what_others_can_write_never_runs(folder, mode) -> None:
    folder.save("ticket.py", HOOK, mode)
    assert "chmod go-w" in folder.reason()
    assert folder.deliver() is None


def test_settings_that_others_can_write_are_refused(folder) -> None:
    folder.save("ticket.yaml", "config: {word: evil}", 0o666)
    folder.save("ticket.py", HOOK)
    assert "chmod go-w" in folder.reason()


def test_a_folder_that_others_can_write_is_left_alone(folder) -> None:
    folder.path.chmod(0o777)
    folder.save("ticket.py", HOOK)
    assert folder.deliver() is None
    (line,) = folder.log.named("plugin.folder")
    assert "chmod go-w" in line["reason"]
    folder.path.chmod(0o755)
    folder.drop_ins.scan()
    assert folder.deliver() == "one support@example.org"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_stranger_s_file_never_runs(folder) -> None:
    folder.save("ticket.py", HOOK)
    folder.save("evil.py", HOOK)
    os.chown(folder.path / "evil.py", 12345, 12345)
    os.utime(folder.path / "evil.py")
    folder.drop_ins.scan()
    assert "belongs to uid 12345" in folder.reason("evil")


def test_pipes_huge_files_and_strange_names_are_refused(folder) -> None:
    os.mkfifo(folder.path / "pipe.py", 0o644)
    folder.drop_ins.scan()
    assert folder.reason("pipe") in ("not a file", "not UTF-8")
    folder.save("huge.py", "#" * (2**20 + 1))
    assert "larger than" in folder.reason("huge")
    folder.save("a b.py", HOOK)
    assert "a name is letters" in folder.reason("a b")
    folder.save(".hidden.py", HOOK)
    folder.save("_private.py", HOOK)
    folder.save("directory.py", HOOK)
    assert "engine's own" in folder.reason("directory")
    assert folder.deliver() is None


def test_a_missing_folder_is_said_once(tmp_path) -> None:
    folder = Folder(tmp_path / "none")
    folder.drop_ins.scan()
    folder.drop_ins.scan()
    assert len(folder.log.named("plugin.folder")) == 1


def test_dataclasses_and_pickled_names_work_in_a_drop_in(folder) -> None:
    folder.save(
        "rich.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from pydantic import BaseModel
        from mta_hooks import hookimpl, Delivered

        @dataclass
        class Place:
            name: str

        class Config(BaseModel):
            word: str = "default"

        @hookimpl
        def register(registry):
            registry.config(Config)

        @hookimpl
        def deliver(recipient, ctx):
            return Delivered(Place(ctx.config.word).name)
        """,
    )
    assert folder.deliver() == "default"
    folder.save("rich.yaml", "config: {wrod: x}")
    assert "config.wrod: unknown key; did you mean word?" in folder.reason("rich")


def test_a_durable_hook_that_nobody_had_before_asks_for_a_reload(folder) -> None:
    folder.save("note.py", "from mta_hooks import hookimpl\n@hookimpl\ndef mailbox_event(event): ...\n")
    assert folder.log.named("plugin.reload_needed") == [{"plugin": "note", "hooks": "mailbox_event"}]
