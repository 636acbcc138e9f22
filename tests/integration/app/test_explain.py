"""``mta explain``, ``mta trace``, ``mta hooks run`` and ``replay`` beside the true daemon, before its first start and after its end."""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import json
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.testing.server import MailServer

GUARD = """
from dataclasses import replace
from mta_hooks import *
from mta_hooks.edits import AddHeader

@hookimpl
def smtp_rcpt(recipient):
    return reject("closed on Sundays") if recipient.local == "shop" else None

@hookimpl
def message_check(message):
    return add_score(6.0, "money") if "money" in (message.header("subject") or "") else None

@hookimpl
def message_modify(message):
    return AddHeader("X-Guard", "seen")

@hookimpl
def mailbox_deliver(placement, message):
    return replace(placement, folder="Lists") if message.header("list-id") else None
"""
MAILS = {
    "plain": "Subject: hello\r\nMessage-ID: <plain@far.test>\r\n\r\nhi\r\n",
    "spam": "Subject: money\r\nMessage-ID: <spam@far.test>\r\n\r\nhi\r\n",
    "list": "Subject: news\r\nList-Id: <l.far.test>\r\nMessage-ID: <list@far.test>\r\n\r\nhi\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    folder = tmp_path_factory.mktemp("explain")
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "guard.py").write_text(GUARD, encoding="utf-8")
    (hooks / "guard.py").chmod(0o644)
    for name, text in MAILS.items():
        (folder / f"{name}.eml").write_bytes(text.encode())
    made = MailServer({"hooks_dir": str(hooks), "workers": 1}, directory=folder, protocols=("smtp",))
    made.write_config()
    before = explain(made, "plain")
    assert before["dialogue"][-2]["reply"] == "550 5.1.1 no such user here"
    assert not made.data_dir.exists()
    with made:
        yield made


def mta(server: MailServer, *words: str) -> str:
    return server.cli(*words).stdout.decode()


def explain(server: MailServer, name: str, *words: str, to: str = "alice@example.test") -> Any:
    file = str(server.directory / f"{name}.eml")
    return json.loads(mta(server, "explain", "--json", "--from", "x@far.test", "--to", to, *words, file))


def send(server: MailServer, name: str, *to: str) -> list[str]:
    said = []
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], local_hostname="client.invalid") as client:
        client.ehlo()
        said.append(client.docmd("MAIL", "FROM:<x@far.test>"))
        said += [client.docmd("RCPT", f"TO:<{one}>") for one in to]
        if any(code == 250 for code, _ in said[1:]):
            said.append(client.data(MAILS[name].encode()))
    return [f"{code} {text.decode()}" for code, text in said]


def eventually(server: MailServer, *words: str) -> list[Any]:
    for _ in range(100):
        try:
            found: list[Any] = json.loads(mta(server, "trace", "--json", *words))
        except AssertionError:
            found = []
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing known of {words}")


def test_explained_and_then_sent(server: MailServer) -> None:
    wanted = {}
    for name, folder in (("plain", "INBOX"), ("spam", "Junk"), ("list", "Lists")):
        said = explain(server, name)
        assert [one["folder"] for one in said["deliveries"]] == [folder]
        assert "X-Guard: seen" in said["header"]["added"]
        replies = send(server, name, "alice@example.test")
        expected = [turn["reply"] for turn in said["dialogue"] if turn["said"].split()[0] in ("MAIL", "RCPT", "(message)")]
        assert [reply.rpartition(" ")[0] for reply in replies] == [reply.rpartition(" ")[0] for reply in expected]
        wanted[f"<{name}@far.test>"] = folder
    for record in eventually(server, "x@far.test"):
        assert [step.get("folder") for step in record["steps"]][-1] == wanted.pop(record["message_id"])
        assert {step["plugin"] for step in record["steps"] if "plugin" in step} == {"guard"}
    assert not wanted


def test_refusals_are_traced(server: MailServer) -> None:
    said = explain(server, "plain", to="shop@example.test")
    assert (said["outcome"], said["refused"][0]["reply"]) == ("refused", "550 5.7.1 closed on Sundays")
    assert send(server, "plain", "shop@example.test", "nobody@example.test")[1:] == [
        "550 5.7.1 closed on Sundays",
        "550 5.1.1 no such user here",
    ]
    time.sleep(1.2)  # written once a second
    records = eventually(server, "--since", "1h", "--refused")
    assert {one["recipients"][0] for one in records} == {"shop@example.test", "nobody@example.test"}
    [record] = eventually(server, "--plugin", "guard", "--refused")
    assert (record["state"], record["stage"], record["reply"]) == ("refused", "rcpt", "550 5.7.1 closed on Sundays")
    assert record["steps"][0]["plugin"] == "guard"
    text = mta(server, "trace", "shop@example.test")
    assert "refused at rcpt: 550 5.7.1 closed on Sundays" in text
    assert "smtp_rcpt guard" in text


def test_one_hook_on_one_message(server: MailServer) -> None:
    file = str(server.directory / "spam.eml")
    said = json.loads(mta(server, "hooks", "run", "message_check", "--to", "alice@example.test", "--json", file))
    assert [(one["plugin"], one["answer"]["score"]) for one in said["said"]] == [("guard", 6.0)]
    text = mta(server, "hooks", "run", "mailbox_deliver", "--to", "alice@example.test", str(server.directory / "list.eml"))
    assert "folder=Lists" in text


def test_a_new_hook_is_tried_on_stored_mail(server: MailServer, tmp_path: Path) -> None:
    send(server, "plain", "bob@example.test")
    hook = tmp_path / "strict.py"
    hook.write_text(
        "from mta_hooks import *\n@hookimpl\ndef message_check(message):\n    if message.header('list-id'): return reject('no lists')\n",
        encoding="utf-8",
    )
    tmp_path.chmod(0o755)
    hook.chmod(0o644)
    said = json.loads(mta(server, "hooks", "replay", "--json", "--with", str(hook), "--since", "1h", "--to", "alice@example.test"))
    assert said["replayed"] == 3
    assert [one["differs"]["outcome"] for one in said["differing"]] == [["accepted", "refused"]]
    assert said["differing"][0]["folder"] == "Lists"
    same = mta(server, "hooks", "replay", "--with", str(server.directory / "hooks" / "guard.py"), "--since", "1h")
    assert " 0 would differ" in same


def test_nothing_is_written_when_the_server_is_down(server: MailServer) -> None:
    server.stop()
    file = server.data_dir / "mta.db"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    explain(server, "plain")
    mta(server, "explain", "--address", "alice+x@example.test")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    server.start()
    assert send(server, "plain", "alice@example.test")[0].startswith("250")
