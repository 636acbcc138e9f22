"""Plugins that go on failing, or kill the server: the one message is held, all other mail flows on."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.testing.clients import compose, message_ids
from mta.testing.server import MailServer, wait_until

ALICE = "alice@example.test"
KILLERS = {
    "exit": "os._exit(3)",
    "segfault": "ctypes.string_at(0)",
}
HOOK = """
import ctypes, os
from mta_hooks import hookimpl

@hookimpl
{kind} deliver(recipient, message):
    if message.header("Subject") == "poison":
        {act}
"""


@pytest.fixture
def hooks(tmp_path):
    folder = tmp_path / "hooks"
    folder.mkdir(mode=0o755)
    return folder


def send(server, number, subject):
    text = compose(f"<{number}@client.test>", ALICE).replace(b"Subject: load", b"Subject: " + subject)
    with server.smtp() as client:
        client.sendmail("x@client.test", [ALICE], text)


def queue(server, *words):
    return json.loads(server.cli("queue", "list", "--json", *words).stdout)


@pytest.mark.parametrize("kind", KILLERS)
def test_a_message_that_kills_twice_is_held_and_mail_flows_on(kind, hooks):
    (hooks / "ticket.py").write_text(HOOK.format(kind="def" if kind == "exit" else "async def", act=KILLERS[kind]))
    with MailServer({"hooks_dir": str(hooks)}) as server:
        send(server, 1, b"poison")
        wait_until(lambda: queue(server, "--state", "error"), 30, "the message is held")
        for number in (2, 3):
            send(server, number, b"fine")

        def arrived():
            with server.imap(ALICE) as box:
                return sorted(message_ids(box).values()) == ["<2@client.test>", "<3@client.test>"]

        wait_until(arrived, 20, "other mail arrives", pause=0.2)
        [row] = queue(server)
        assert (row["state"], row["trouble"]["plugin"], row["trouble"]["hook"], row["trouble"]["crashes"]) == (
            "error",
            "ticket",
            "deliver",
            2,
        )
        shown = server.cli("queue", "show", row["id"]).stdout.decode()
        assert f"{hooks}/ticket.py" in shown
        assert server.log_now.count("queue.worker_died") == 2
        (hooks / "ticket.py").write_text(HOOK.format(kind="def", act="return None"))
        server.wait_for_log(r"plugin\.loaded .*again=True")
        assert b"1 recipient released" in server.cli("queue", "release", row["id"]).stdout
        wait_until(lambda: not queue(server), 10, "it is delivered")


def test_a_hook_that_goes_on_failing_is_named_with_its_traceback(hooks):
    (hooks / "ticket.py").write_text(HOOK.format(kind="def", act='raise ValueError("no such ticket")'))
    with MailServer({"hooks_dir": str(hooks), "hooks": {"hold_after": 2}, "queue": {"retry": [0.2]}}) as server:
        send(server, 1, b"poison")
        wait_until(lambda: queue(server, "--state", "error"), 20, "the message is held")
        [row] = queue(server, "--plugin", "ticket", "--hook", "deliver")
        assert (row["attempts"], row["trouble"]["times"], row["trouble"]["line"]) == (2, 2, 8)
        shown = server.cli("queue", "show", row["id"]).stdout.decode()
        assert 'raise ValueError("no such ticket")' in shown
        assert f"{hooks}/ticket.py:8" in shown
        assert "no such ticket" not in row["last_reply"] + row["hold"]
        assert b'"error": 1' in server.cli("queue", "stats", "--json").stdout
        assert b"1 recipients that a plugin failed" in server.cli("doctor", check=False).stdout
        assert b"1 recipient will be tried" in server.cli("queue", "retry", "--hook", "deliver").stdout
        wait_until(lambda: queue(server, "--state", "error"), 20, "it is held again")
        (hooks / "ticket.py").unlink()
        server.wait_for_log("plugin.unloaded")
        server.cli("queue", "retry", row["id"])
        wait_until(lambda: not queue(server), 10, "it is delivered")


def test_notifications_that_kill_are_given_up_and_replayed(hooks):
    (hooks / "chat.py").write_text(
        "import os\nfrom mta_hooks import hookimpl\n@hookimpl\ndef delivered(record):\n    os._exit(3)\n"
    )
    with MailServer({"hooks_dir": str(hooks), "workers": 1}, protocols=("smtp", "imap")) as server:
        send(server, 1, b"fine")

        def dead():
            return json.loads(server.cli("hooks", "dead", "--json").stdout)

        wait_until(dead, 40, "it is given up", pause=0.5)
        [row] = dead()
        assert (row["hook"], row["payload"]["recipient"]) == ("delivered", ALICE)
        assert "died 2 times in delivered of plugin chat" in row["error"]
        (hooks / "chat.py").write_text("from mta_hooks import hookimpl\n@hookimpl\ndef delivered(record):\n    pass\n")
        server.wait_for_log(r"plugin\.loaded .*again=True")
        assert b"1 notification will be called again" in server.cli("hooks", "replay", str(row["id"])).stdout
        wait_until(lambda: not dead(), 10, "it is told")
        assert server.cli("hooks", "discard", "--yes", check=False).returncode == 64
