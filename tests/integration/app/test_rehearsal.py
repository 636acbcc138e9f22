"""What ``mta explain`` says is what the server does: generated configurations and messages, each explained and then delivered for true.

The other side is a whole worker (``Assembly``) over a database file, spoken to by the same client; its queue is not worked off, so that what was
queued can be compared. Explaining must leave every row as it was and open no connection.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import random
import re
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
import yaml

from mta.app.build import Assembly
from mta.app.lock import DispatchLock
from mta.app.places import Places
from mta.app.rehearsal import Envelope, Performance, Rehearsal, Script, converse, look_on
from mta.config.load import load
from mta.model.address import Address
from mta.model.directory import Alias, Domain
from mta.model.ids import ModSeq
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta_hooks.backends import Database
from mta_sql.sqlite import driver

CONFIGS, EACH = 40, 8
PASSWORD = "correct-horse"
NAMES = ("alice", "bob", "carol", "dave", "erin")

HEAD = "from mta_hooks import *\nfrom mta_hooks.edits import AddHeader, RemoveHeader, ReplaceHeader\nfrom mta.model.directory import *\nfrom mta.model.delivery import *\nfrom dataclasses import replace\n"
HOOKS = (
    "@hookimpl\ndef smtp_connect(session):\n    if session.client_ip.endswith('66'): return {v}\n",
    "@hookimpl\ndef smtp_ehlo(name):\n    if 'bad' in name: return {v}\n",
    "@hookimpl\ndef smtp_capabilities(capabilities):\n    return [*capabilities, 'XNOTE']\n",
    "@hookimpl\ndef smtp_mail(sender):\n    if sender is not None and sender.domain == 'evil.test': return {v}\n",
    "@hookimpl\ndef smtp_rcpt(recipient):\n    if recipient.local.startswith('{n}'): return {r}\n",
    "@hookimpl\ndef rcpt_policy_key(recipient):\n    return recipient.local[:1] if recipient.local[:1] in 'ab' else None\n",
    "@hookimpl\ndef smtp_data(transaction):\n    if len(transaction.recipients) > 2: return {s}\n",
    "@hookimpl\ndef message_headers(headers):\n    for name, value in headers:\n        if name.lower() == 'x-mark': return {m}\n",
    "class Sink:\n    size = 0\n    def feed(self, octets): self.size += len(octets)\n    def close(self): return add_score(self.size / 300)\n@hookimpl\ndef message_sink(session):\n    return Sink()\n",
    "@hookimpl(types=('text/html', 'application/*'))\ndef mime_part(part):\n    return {s} if part.filename.endswith('exe') else add_score(1.5, 'html')\n",
    "@hookimpl\ndef smtp_reply(command, reply):\n    return replace(reply, text='so be it: ' + reply.text) if command == 'RCPT' else None\n",
    "@hookimpl\ndef message_authenticate(message):\n    return AuthResult('x-own', 'pass' if message.sender else 'none')\n",
    "@hookimpl\nasync def message_check(session, message, recipients, ctx):\n    seen = int(await ctx.kv.get('seen') or b'0') + 1\n    await ctx.kv.set('seen', b'%d' % seen)\n    if seen % 3 == 0: return {m}\n",
    "@hookimpl\ndef message_check(message, recipients):\n    return {{r.address: {m} for r in recipients if r.address.local.startswith(('{n}', 'c'))}} or None\n",
    "@hookimpl\ndef message_check(message):\n    return add_score({x}, 'words') if 'win' in (message.header('subject') or '') else None\n",
    "@hookimpl(on_error='{e}')\ndef message_check(message):\n    if 'fail' in (message.header('subject') or ''): raise RuntimeError('broken')\n",
    "@hookimpl\nasync def message_check(message, ctx):\n    try:\n        await ctx.http.request('GET', 'http://127.0.0.1:9/')\n    except OSError:\n        return add_score(0.5, 'no answer')\n",
    "@hookimpl\ndef message_verdict(message, scores):\n    if sum(scores.values()) > 3: return {m}\n",
    "@hookimpl\ndef verdict_override(hook, verdict):\n    if hook in ('message_check', 'smtp_rcpt') and verdict.final: return {o}\n",
    "@hookimpl\ndef message_modify(message):\n    return [AddHeader('X-Seen', 'yes'), RemoveHeader('X-Mark'), ReplaceHeader('Subject', 'Re: ' + (message.header('subject') or ''))]\n",
    "@hookimpl\ndef message_sign(message):\n    return AddHeader('X-Signature', str(len(message.raw) // 1000))\n",
    "@hookimpl\ndef mailbox_deliver(placement, message, recipient):\n    if message.header('list-id'): return replace(placement, folder='Lists', keywords=frozenset({{'$List'}}))\n",
    "@hookimpl\ndef mailbox_deliver(placement, message):\n    return replace(placement, folder=message.notes['detail']) if message.notes.get('detail') else None\n",
    "@hookimpl\ndef mailbox_deliver(placement, recipient):\n    if recipient.local.startswith('{n}'): return replace(placement, drop=True)\n",
    "@hookimpl\ndef alias_expand(address):\n    if address.local == 'team': return AliasTarget(('alice', 'far@dest.test'))\n",
    "@hookimpl\ndef recipient_lookup(address):\n    if address.local == 'robot': return HookTarget(address)\n",
    "@hookimpl\ndef deliver(recipient):\n    return Delivered('taken') if recipient.local == 'robot' else None\n",
    "@hookimpl\ndef delivered(record): pass\n",
    "@hookimpl\ndef message_accepted(message, envelopes): pass\n",
)  # fmt: skip
APART = """
@hookimpl
async def message_check(message, ctx):
    await ctx.kv.set('apart', b'1')
    try:
        await ctx.http.request('GET', 'http://127.0.0.1:9/')
    except OSError:
        return add_score(1.0, 'apart')
"""
SCRIPT = '#!/bin/sh\ncase $(cat) in *win*) echo \'{"action": "accept", "score": 2.5}\';; esac\n'


def make_config(rng: random.Random, folder: Path) -> None:
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    stop = ("reject('no')", "defer('later')")
    stream = (*stop, "discard('gone')", "quarantine('odd')", "hold('look')")
    words = {
        "v": rng.choice(stop),
        "s": rng.choice(stream),
        "r": rng.choice((*stream, "accept()", "redirect('bob@example.test', 'far@dest.test')")),
        "m": rng.choice((*stream, "accept('good')", "add_score(4)", "redirect('carol@example.test')")),
        "o": rng.choice(("accept()", "quarantine('softer')", "reject('harder')")),
        "x": rng.choice((1, 6, 20)),
        "n": rng.choice("abcd"),
        "e": rng.choice(("continue", "defer", "reject")),
    }
    for number, text in enumerate(rng.sample(HOOKS, rng.randint(1, 6))):
        path = hooks / f"hook{number}.py"
        path.write_text(HEAD + text.format(**words), encoding="utf-8")
        path.chmod(0o644)
    if rng.random() < 0.2:
        (hooks / "message_check.d").mkdir(mode=0o755)
        program = hooks / "message_check.d" / "50-words"
        program.write_text(SCRIPT, encoding="utf-8")
        program.chmod(0o755)
    if rng.random() < 0.08:
        (hooks / "apart.py").write_text(HEAD + APART, encoding="utf-8")
        (hooks / "apart.yaml").write_text("isolate: process\n", encoding="utf-8")
        for name in ("apart.py", "apart.yaml"):
            (hooks / name).chmod(0o644)
    config = {
        "hostname": "mx.example.test",
        "data_dir": str(folder / "var"),
        "quota": {"warn": []},  # sent afterwards, by whoever stored: not what explain is about
        "domains": ["example.test"],
        "user": "root",
        "hooks_dir": str(hooks),
        "relay": {"networks": rng.choice(([], ["10.0.0.0/8"]))},
        "routes": {"dest.test": "smtp://127.0.0.1:9"},
        "spam": {
            "junk": rng.choice((1, 5)),
            "reject": rng.choice((6, 15)),
            "mixed_verdict": rng.choice(("quarantine", "discard", "accept_tagged")),
        },
        "limits": {"received": 10},
        "plugins": {"sql": {}},
    }
    (folder / "mta.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


async def fill(rng: random.Random, db: Database) -> None:
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    names = ["alice", *rng.sample(NAMES[1:], rng.randint(1, 4))]
    users = await db.directory.add_users([(Address(name, "example.test"), hashed) for name in names])
    if rng.random() < 0.3:
        await db.directory.set_quota(users[0].id, rng.choice((10, 5000)))
    if rng.random() < 0.5:
        await db.directory.add_domain(Domain("relayed.test", "relay"))
    targets = ("alice", "bob@example.test", "far@dest.test", "loop@example.test", "list@example.test", "nobody@example.test")
    for source in ("list@example.test", "loop@example.test", "@example.test", "carol@example.test", "sales@example.test"):
        if rng.random() < 0.5:
            await db.directory.add_alias(Alias(source, tuple(rng.sample(targets, rng.randint(1, 3)))))


def make_mail(rng: random.Random) -> tuple[Envelope, bytes]:
    door = rng.choice(("smtp", "smtp", "smtp", "submission", "lmtp", "local"))
    locals_ = (*NAMES, "alice+box", "list", "loop", "sales", "nobody", "team", "robot", "postmaster")
    pool = [f"{name}@example.test" for name in locals_] + ["far@dest.test", "who@relayed.test", "out@else.test"]
    user = "alice@example.test" if door == "submission" and rng.random() < 0.8 else ""
    senders = ("alice@example.test", "friend@far.test", "x@evil.test", "", "bob@example.test")
    envelope = Envelope(
        sender=rng.choice(senders),
        recipients=rng.sample(pool, rng.randint(1, 4)),
        client_ip=rng.choice(("192.0.2.7", "192.0.2.66", "10.1.2.3", "127.0.0.1")),
        helo=rng.choice(("client.test", "bad.test")) if rng.random() < 0.3 else "client.test",
        user=user,
        door=door,  # type: ignore[arg-type]
        tls=rng.random() < 0.2,
    )
    fields = [f"Subject: {rng.choice(('hello', 'win money', 'fail', 'you win, fail'))}"]
    extra = ("X-Mark: 1", "List-Id: <a.test>", "Message-ID: <m1@far.test>", "Date: Thu, 01 Jan 2026 00:00:00 +0000",
             "Authentication-Results: mx.example.test; dkim=pass", "Return-Path: <forged@far.test>")  # fmt: skip
    fields += rng.sample(extra, rng.randint(0, 4))
    if rng.random() < 0.1:
        fields += ["Received: by somebody"] * 12
    body = "text\r\n.dot\r\n" * rng.randint(1, 80)
    if rng.random() < 0.3:
        fields.append('Content-Type: multipart/mixed; boundary="b"')
        body = (
            '--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b\r\nContent-Type: application/x; name="a.exe"\r\n\r\nMZ\r\n--b--\r\n'
        )
    elif rng.random() < 0.2:
        body += "Grüße\r\n"
    return envelope, ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


# ---- both sides in one form

_ID = re.compile(r"\b[0-9a-f]{20,40}\b")
_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} \+0000")


def plain(text: str) -> str:
    return _DATE.sub("DATE", _ID.sub("ID", text))


def plain_steps(steps: Any) -> list[str]:
    return [plain(str(sorted((k, v) for k, v in step.items() if k not in ("seconds", "at")))) for step in steps]


def shape(performance: Performance, accounts: dict[int, str]) -> dict[str, Any]:
    taken = performance.taken
    mailboxes: list[Any] = []
    queued: list[Any] = []
    if taken is not None:
        octets = plain(taken.content.raw().decode("utf-8", "replace"))
        mailboxes = [
            (accounts[one.user], folder, int(place.flags), " ".join(sorted(place.keywords)), octets)
            for one in taken.deliveries
            if not (place := one.placement).drop
            for folder in dict.fromkeys((place.folder, *place.copies))
        ]
        queued = [(str(q.address), q.transport, q.hold) for q in taken.queued]
    return {
        "replies": [(said, plain(reply)) for said, reply in performance.dialogue if not said.startswith("AUTH")],
        "mailboxes": sorted(mailboxes),
        "queued": sorted(queued),
        "trace": plain_steps(taken.trace) if taken is not None else [],
        "refused": sorted((r.stage, r.state, plain(r.reply), r.recipients, plain_steps(r.steps)) for r in performance.refusals),
    }


class Reality:
    """A whole worker, and what is new in its database after each message."""

    def __init__(self, assembly: Assembly, accounts: dict[int, str]) -> None:
        self._assembly, self._accounts = assembly, accounts
        self._seen: set[Any] = set()

    async def run(self, envelope: Envelope, message: bytes) -> dict[str, Any]:
        db = self._assembly.database
        talk = converse(self._assembly.smtp, envelope)
        script = Script(talk, envelope, PASSWORD)
        await script.play(message)
        talk.end()
        await self._assembly._refusals.flush()
        mailboxes = []
        for user, name in self._accounts.items():
            for box in await db.store.mailboxes(user):  # type: ignore[arg-type]
                for row in (await db.store.changes(box.id, ModSeq(0))).rows:
                    if self._new((box.id, row.uid)):
                        octets = plain((await db.store.read(row.blob)).decode("utf-8", "replace"))
                        mailboxes.append((name, box.name, int(row.flags), " ".join(sorted(row.keywords.split())), octets))
        rows = await db._core.read(lambda c: c.execute("SELECT id, local, domain, transport, hold FROM queue").fetchall())  # type: ignore[attr-defined]
        queued = [(str(Address(row[1], row[2])), row[3], row[4]) for row in rows if self._new(("queue", row[0]))]
        traces = [record for record in await db.traces.find(refused=False, limit=1000) if self._new(("trace", record.id))]
        refused = await db._core.read(lambda c: c.execute("SELECT max(id) FROM refusals").fetchone()[0] or 0)  # type: ignore[attr-defined]
        records = [] if not self._new(("refusal", refused)) else await db.traces.find(accepted=False, limit=1000)
        fresh = [r for r in records if self._new(("refused", r.id, r.stage, r.recipients, r.at))]
        return {
            "replies": [(said, plain(reply)) for said, reply in script.dialogue if not said.startswith("AUTH")],
            "mailboxes": sorted(mailboxes),
            "queued": sorted(queued),
            "trace": plain_steps(traces[0].steps) if traces else [],
            "refused": sorted((r.stage, r.state, plain(r.reply), r.recipients, plain_steps(r.steps)) for r in fresh),
        }

    def _new(self, key: Any) -> bool:
        known = key in self._seen
        self._seen.add(key)
        return not known


def rows_of(file: Path) -> str:
    """A hash over every row of every table."""
    connection = driver.connect(f"file:{file}?mode=ro", uri=True)
    digest = hashlib.sha256()
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"):  # noqa: S608
            digest.update(repr((name, row)).encode())
    connection.close()
    return digest.hexdigest()


CONNECTED: list[Any] = []
WATCHING = [False]


def _audit(event: str, args: Any) -> None:
    if WATCHING[0] and event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        CONNECTED.append((event, args[1:]))


@pytest.fixture(scope="module", autouse=True)
def watched() -> Iterator[None]:
    sys.addaudithook(_audit)
    yield
    WATCHING[0] = False


async def compare(seed: int, folder: Path) -> int:
    """Returns how many messages were accepted by both."""
    rng = random.Random(seed)
    make_config(rng, folder)
    loaded = load(str(folder / "mta.yaml"))
    places = Places(loaded.config.data_dir)
    places.prepare()
    lock = DispatchLock(places.dispatch_lock)
    assert lock.acquire()
    log = Log()
    tasks = Tasks(log)
    assembly = Assembly(loaded, places, 0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tasks, log)
    await assembly.open(lambda exc: None)
    await fill(rng, assembly.database)
    users = {int(user.id): str(user.address) for user in await assembly.database.directory.users()}
    reality = Reality(assembly, users)
    rehearsal = Rehearsal(loaded)
    rehearsal.load()
    accepted = 0
    async with look_on(loaded, rehearsal.hooks) as look:
        await rehearsal.open(look)
        for number in range(EACH):
            envelope, message = make_mail(rng)
            before = rows_of(folder / "var" / "mta.db")
            WATCHING[0] = True
            performance = await rehearsal.run(envelope, message)
            WATCHING[0] = False
            assert rows_of(folder / "var" / "mta.db") == before
            assert CONNECTED == []
            expected = await reality.run(envelope, message)
            assert shape(performance, users) == expected, (seed, number, envelope)
            accepted += performance.taken is not None
        await rehearsal.close()
    await assembly.close(0.0)
    await tasks.close()
    lock.release()
    return accepted


@pytest.mark.parametrize("seed", range(CONFIGS))
def test_explain_says_what_the_server_does(seed: int, tmp_path: Path) -> None:
    asyncio.run(compare(seed, tmp_path))
