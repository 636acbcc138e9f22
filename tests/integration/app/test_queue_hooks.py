"""``queue_admin``: the real commands over a real queue, with a drop-in hook that says for which rows they may be done."""

import asyncio
import json
from contextlib import closing

import pytest

from mta.model.address import Address
from mta.model.ids import QueueId
from mta.model.message import Intake, OctetContent, QueuedRecipient
from mta.testing.server import MailServer
from mta_hooks.backends.database import DatabaseOptions
from mta_sql import open_database

RULES = """
import json
from dataclasses import replace
from mta_hooks import hookimpl

@hookimpl
async def queue_admin(action, envelopes, data, ctx):
    told = [[action, dict(data), e.id, str(e.sender), [str(r) for r in e.recipients], e.origin, e.user, e.hold] for e in envelopes]
    await ctx.kv.set("told", json.dumps(told).encode())
    if action == "release_quarantine":
        raise ValueError("nobody does that here")
    return [replace(e, recipients=kept) for e in envelopes if (kept := tuple(r for r in e.recipients if r.local != "kept"))]
"""


async def with_database(server, work):
    database = open_database("sqlite", DatabaseOptions(data_dir=str(server.data_dir), reserve=0))
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()


def fill(server):
    rows = [("kept", ""), ("gone", ""), ("held", "by hand"), ("junk", "quarantine: score 7")]
    queued = tuple(QueuedRecipient(Address(name, "x.test"), "remote", hold=hold) for name, hold in rows)
    sender = Address("s", "example.test")
    intake = Intake(QueueId("q1"), "submission", sender, OctetContent(b"A: b\r\n\r\n"), 1.7e9, user="s@example.test", queued=queued)
    asyncio.run(with_database(server, lambda database: database.spool.accept(intake)))


def told(server):
    return json.loads(asyncio.run(with_database(server, lambda db: db.kv.get("rules", "told", now=0.0))))


@pytest.fixture
def server(tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "rules.py").write_text(RULES)
    (hooks / "rules.py").chmod(0o644)
    with closing(MailServer({"hooks_dir": str(hooks)}, protocols=("smtp",))) as one:
        one.prepare()
        fill(one)
        yield one


def test_plugins_say_for_which_rows_a_command_is_done(server):
    def run(*words, check=True):
        done = server.cli("queue", *words, check=check)
        return done.stdout.decode(), done.returncode, done.stderr.decode()

    def left():
        return {row["recipient"].partition("@")[0]: row["state"] for row in json.loads(run("list", "--json")[0])}

    assert run("hold", "q1", "--reason", "why")[0] == "1 recipient held\n"
    assert told(server) == [
        ["hold", {"by": "command", "reason": "why"}, "q1", "s@example.test", ["kept@x.test", "gone@x.test"], "submission",
         "s@example.test", ""]
    ]  # fmt: skip
    assert left() == {"kept": "due", "gone": "held", "held": "held", "junk": "quarantine"}
    out, status, err = run("release", "--all", check=False)
    assert (out, status) == ("", 75)
    assert "mta: rules: queue_admin: ValueError: nobody does that here" in err
    assert left()["held"] == "held", "nothing is done when a plugin fails"
    assert run("release", "--recipient", "held@x.test")[0] == "1 recipient released\n"
    assert [(one[0], one[7]) for one in told(server)] == [("release", "by hand")]
    assert run("delete", "--all", "--yes")[0] == "3 recipients deleted\n"
    assert left() == {"kept": "due"}
    assert run("delete", "q1", "--yes")[0] == "0 recipients deleted\n"
    assert run("retry", "q1")[0] == "0 recipients will be tried now\n"
