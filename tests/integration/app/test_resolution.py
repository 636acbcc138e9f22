"""What ``mta explain --address`` and ``mta hooks run`` show, and what a back-test compares; over a database file."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mta.app.backtest import differences, then
from mta.app.rehearsal import Envelope, Rehearsal, look_on
from mta.app.resolution import graph, graph_lines
from mta.app.tryout import try_hook
from mta.config.load import load
from mta.model.address import Address
from mta.model.directory import Alias, Domain
from mta.model.errors import ConfigError
from mta.model.ids import QueueId
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.database import TraceRecord
from mta_sql import open_database

ALIASES = {
    "sales@example.test": ("alice", "old", "far@dest.test"),
    "loop@example.test": ("round@example.test",),
    "round@example.test": ("loop@example.test",),
    "bob@example.test": ("bob", "alice"),
    "@other.test": ("alice@example.test",),
}
HOOK = """
from mta_hooks import *

@hookimpl
async def message_check(message, ctx):
    seen = await ctx.kv.get("seen")
    await ctx.kv.set("seen", b"1")
    if seen:
        raise RuntimeError("seen before")
    return add_score(1.0)

@hookimpl
def address_rewrite(address, role):
    if role == "envelope_recipient" and address.local == "former":
        return Address("bob+x", "example.test")

@hookimpl(types="text/*")
def mime_part(part):
    return add_score(float(part.size))

@hookimpl
def message_sink(session):
    return Sink()

class Sink:
    size = 0
    async def feed(self, octets):
        self.size += len(octets)
    async def close(self):
        return add_score(float(self.size))
"""
MAIL = b"Subject: hi\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n"


def run(folder: Path, work: Callable[[Rehearsal], Awaitable[Any]]) -> Any:
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "own.py").write_text(HOOK, encoding="utf-8")
    (hooks / "own.py").chmod(0o644)
    (folder / "mta.yaml").write_text(
        f"hostname: mx.example.test\ndata_dir: {folder}/var\ndomains: [example.test, other.test]\n"
        f"hooks_dir: {hooks}\nroutes: {{dest.test: 'smtp://127.0.0.1:9'}}\n",
        encoding="utf-8",
    )

    async def main() -> Any:
        loaded = load(str(folder / "mta.yaml"))
        filled = open_database("sqlite", DatabaseOptions(data_dir=loaded.config.data_dir, reserve=0))
        await filled.open()
        await filled.directory.add_users([(Address(name, "example.test"), "x") for name in ("alice", "bob")])
        await filled.directory.add_domain(Domain("relayed.test", "relay"))
        for source, targets in ALIASES.items():
            await filled.directory.add_alias(Alias(source, targets))
        await filled.close()
        rehearsal = Rehearsal(loaded)
        rehearsal.load()
        async with look_on(loaded, rehearsal.hooks) as database:
            await rehearsal.open(database)
            try:
                return await work(rehearsal)
            finally:
                await rehearsal.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("address", "lines"),
    [
        (
            "sales@example.test",
            [
                "sales@example.test: alias -> alice@example.test, old@example.test, far@dest.test",
                "alice@example.test: mailbox -> alice@example.test",
                "old@example.test: dead end",
                "far@dest.test: remote",
                "",
                "mailbox: alice@example.test",
                "remote: far@dest.test -> smtp://127.0.0.1:9",
            ],
        ),
        (
            "alice+x@example.test",
            ["alice+x@example.test (without +x): mailbox -> alice@example.test", "", "mailbox: alice@example.test"],
        ),
        (
            "who@other.test",
            [
                "who@other.test (catch-all): alias -> alice@example.test",
                "alice@example.test: mailbox -> alice@example.test",
                "",
                "mailbox: alice@example.test",
            ],
        ),
        (
            "loop@example.test",
            [
                "loop@example.test: alias -> round@example.test",
                "round@example.test: alias -> loop@example.test (loop)",
                "",
                "refused: 550 5.4.6 address loops",
            ],
        ),
        (
            "bob@example.test",
            [
                "bob@example.test: alias -> bob@example.test (itself), alice@example.test",
                "bob@example.test (itself): mailbox -> bob@example.test",
                "alice@example.test: mailbox -> alice@example.test",
                "",
                "mailbox: bob@example.test",
                "mailbox: alice@example.test",
            ],
        ),
        (
            "former@example.test",
            [
                "former@example.test: rewritten -> bob+x@example.test",
                "bob+x@example.test (without +x): alias -> bob@example.test (itself), alice@example.test",
                "bob@example.test (itself): mailbox -> bob@example.test",
                "alice@example.test: mailbox -> alice@example.test",
                "",
                "mailbox: bob@example.test",
                "mailbox: alice@example.test",
            ],
        ),
        ("nobody@example.test", ["nobody@example.test: dead end", "", "refused: 550 5.1.1 no such user here"]),
        ("x@relayed.test", ["x@relayed.test: relay domain", "", "remote: x@relayed.test -> MX of relayed.test"]),
    ],
)
def test_each_step_of_a_resolution(tmp_path: Path, address: str, lines: list[str]) -> None:
    said = run(tmp_path, lambda rehearsal: graph(rehearsal, Address.parse(address)))
    assert graph_lines(said) == lines


def test_one_hook_is_called_as_the_server_calls_it(tmp_path: Path) -> None:
    envelope = Envelope("a@far.test", ["alice@example.test"])

    async def work(rehearsal: Rehearsal) -> list[Any]:
        out = [await try_hook(rehearsal, hook, envelope, MAIL) for hook in ("message_check", "mime_part", "message_sink", "route")]
        with pytest.raises(ConfigError, match="which a message does not bring"):
            await try_hook(rehearsal, "mailbox_append", envelope, MAIL)
        return out

    check, parts, sink, route = run(tmp_path, work)
    assert [one["answer"]["score"] for one in check["said"]] == [1.0]
    assert check["caught"] == [{"kind": "key", "plugin": "own", "text": "seen was not written (1 octets)"}]
    assert [(one["part"], (one["answer"] or {}).get("score")) for one in parts["said"]] == [
        ("1 text/plain", 3.0),
        ("2 image/png", None),
    ]
    assert sink["said"][0]["answer"]["score"] == len(MAIL)
    assert route["said"] == []


def test_one_try_does_not_see_what_another_wrote(tmp_path: Path) -> None:
    async def work(rehearsal: Rehearsal) -> list[Any]:
        envelope = Envelope("a@far.test", ["alice@example.test"])
        return [await rehearsal.run(envelope, MAIL) for _ in range(3)]

    for performance in run(tmp_path, work):
        assert not [step for step in performance.steps if "error" in step]
        assert [one.kind for one in performance.effects] == ["key"]


def test_what_a_back_test_compares() -> None:
    steps = [
        {"hook": "message_check", "plugin": "own", "seconds": 0.5, "verdict": {"action": "accept", "score": 2.0}},
        {"stage": "delivery", "recipient": "a@b.test", "result": "delivered", "folder": "Junk"},
    ]
    record = TraceRecord(QueueId("Q1"), 0.0, "smtp", "", "", 0, "", "", steps)
    known = then(record, "own")
    assert known == {"outcome": "accepted", "folders": ["Junk"], "said": {"own": ["message_check  score +2"]}}
    now = {"outcome": "accepted", "reply": "", "folders": ["INBOX"], "queued": [], "header": {}, "said": {}}
    assert differences(known, now) == {
        "folders": [["Junk"], ["INBOX"]],
        "said": [{"own": ["message_check  score +2"]}, {"own": []}],
    }
    assert differences(known, {**now, "folders": ["Junk"], "said": known["said"]}) == {}
    assert then(None, "own") is None
