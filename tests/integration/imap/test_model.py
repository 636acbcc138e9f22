"""Several clients at once, over one or several servers that share a database, against a model of what must hold.

Commands really run side by side, so what comes of them is no single sequence; the model holds what every sequence has in common:

- a client that believes only untagged answers numbers messages as the mailbox does, and knows their flags (RFC 9051 §5.2, §7.4, §7.5);
- EXPUNGE and VANISHED never come during FETCH, STORE and SEARCH by number (RFC 9051 §7.5.1);
- a uid names one message for ever, uids ascend, none comes back (RFC 9051 §2.3.1.1); no message is doubled, and none goes that nobody
  marked \\Deleted, moved or replaced;
- what SEARCH and FETCH CHANGEDSINCE find is what the database has;
- each client has a keyword that only it sets and clears, so that what its commands leave is known exactly;
- commands sent in one breath are as good as one after the other, also those that the server takes together;
- mod-sequences of a message only grow, and UNCHANGEDSINCE never changes what was changed meanwhile (RFC 7162 §3.1);
- whoever comes back with SELECT (QRESYNC …) after an absence knows the mailbox from that answer alone (RFC 7162 §3.2.5).

``MTA_MODEL_SECONDS=300`` makes each run as long as that; ``MTA_MODEL_SEED`` repeats the choices of a run (not its timing).
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mta.imapd import copy, expunge, regroup, store
from mta.model.ids import MailboxId, ModSeq
from mta.model.mailbox import Row
from mta.testing.imapd import FakeTransport, ImapSite
from mta.wire.imap.flags import encode_flags
from mta_hooks.backends import Database, DatabaseOptions
from mta_sql import open_database, together

SECONDS = float(os.environ.get("MTA_MODEL_SECONDS", "2"))
SEED = int(os.environ.get("MTA_MODEL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
CLIENTS = 4
_FETCH = re.compile(r"\* (\d+) FETCH \((.*)\)$")
_FLAGS = re.compile(r"FLAGS \(([^)]*)\)")
_UID = re.compile(r"UID (\d+)")
_MODSEQ = re.compile(r"MODSEQ \((\d+)\)")
_BY_NUMBER = ("FETCH ", "STORE ", "SEARCH ")


class Worker(ImapSite):
    """One of several processes: it learns from the others what changed, as over the bus."""

    def __init__(self, all_of_them: list["Worker"], **site: Any) -> None:
        self._all = all_of_them
        all_of_them.append(self)
        super().__init__(**site)

    def _changed(self, mailboxes: Sequence[MailboxId]) -> None:
        for worker in self._all:
            asyncio.get_running_loop().call_soon(worker.server.changed, mailboxes)

    async def join(self, first: "Worker") -> None:
        """The accounts are there already."""
        await self.database.open()
        self.store = self.server.store = self.database.store
        self.users.update(first.users)


class Model:
    """What all clients' commands together must leave."""

    def __init__(self) -> None:
        self.appended: dict[int, str] = {}
        """uid → name of the message."""
        self.doomed: set[int] = set()
        """Uids that somebody marked \\Deleted, moved or replaced, or tried to; all others stay."""
        self.copied: list[tuple[int, int]] = []
        self.names = 0
        self.commands = 0

    def settle(self) -> None:
        """Copies are called as what they are copies of, whose APPEND may have been answered after the COPY."""
        for copied, uid in sorted(self.copied):
            self.born(copied, self.appended[uid])
            if uid in self.doomed:  # \Deleted is copied too
                self.doomed.add(copied)
        self.copied.clear()

    def born(self, uid: int, name: str) -> None:
        assert uid not in self.appended, f"uid {uid} given twice"
        self.appended[uid] = name


class Client:
    """Believes what it is told, and does what chance says."""

    def __init__(self, number: int, model: Model, chance: random.Random) -> None:
        self.number, self.model, self.chance = number, model, chance
        self.own = f"$own{number}"
        self.qresync = number % 2 == 1
        self.known: list[dict[str, Any]] = []
        self.marked: dict[int, bool] = {}
        """uid → has ``own``, as my commands left it."""
        self.validity = self.modseq = self.stored = 0
        self.said = ""
        self.link: Any
        self.transport: FakeTransport

    async def open(self, worker: Worker, select: str = "SELECT INBOX") -> None:
        self.link, self.transport = worker.connect()
        await self.say("LOGIN alice@example.test secret")
        await self.say("ENABLE QRESYNC" if self.qresync else "NOOP")
        await self.say(select)

    async def say(self, command: str) -> str:
        """Run one command; hear everything up to its answer."""
        self.said = command
        self.model.commands += 1
        octets = await self.ask(f"t {command}", "+ idling" if command == "IDLE" else "t ")
        return self.hear(octets, command)

    async def ask(self, line: str, end: str) -> bytes:
        """Send a line; wait for a line that begins with ``end``."""
        self.link.data_received(f"{line}\r\n".encode())
        octets, until = b"", time.monotonic() + 60
        while f"\r\n{end}".encode() not in b"\r\n" + octets or not octets.endswith(b"\r\n"):
            assert time.monotonic() < until, f"{line}: no answer after {octets!r}"
            await asyncio.sleep(0.0005)
            octets += self.transport.take()
        return octets

    def hear(self, octets: bytes, command: str) -> str:
        lines = octets.decode().split("\r\n")[:-1]
        for line in lines:
            self._take(line, may_expunge=not command.startswith(_BY_NUMBER))
        return lines[-1] if lines else ""

    def _take(self, line: str, *, may_expunge: bool) -> None:
        if line.endswith(" EXISTS"):
            count = int(line.split()[1])
            assert count >= len(self.known), (self.said, line)
            self.known += [{} for _ in range(count - len(self.known))]
        elif line.endswith(" EXPUNGE"):
            assert may_expunge, f"{line} during {self.said}"
            del self.known[int(line.split()[1]) - 1]
        elif line.startswith("* VANISHED "):
            assert may_expunge or "EARLIER" in line, f"{line} during {self.said}"
            gone = set(_numbers(line.rsplit(maxsplit=1)[-1]))
            nameless = gone - {m.get("uid") for m in self.known} if "EARLIER" not in line else set()
            self.known = [m for m in self.known if m.get("uid") not in gone]
            for uid in sorted(nameless):  # one whose uid it has not heard yet: after those with lower ones; its like are alike
                at = 1 + max((at for at, m in enumerate(self.known) if m.get("uid", uid) < uid), default=-1)
                assert at < len(self.known), f"{line}: {uid} was not there"
                assert "uid" not in self.known.pop(at), f"{line}: {uid} was not there"
        elif found := _FETCH.match(line):
            assert int(found[1]) <= len(self.known), f"{line} of {len(self.known)} during {self.said}"
            self._learn(self.known[int(found[1]) - 1], found[2])
        elif found := re.match(r"\* OK \[APPENDUID \d+ (\d+)\]", line):
            self.stored = int(found[1])
        elif found := re.match(r"\* OK \[(HIGHESTMODSEQ|UIDVALIDITY) (\d+)\]", line):
            if found[1] == "UIDVALIDITY":
                self.validity = int(found[2])
            else:
                assert int(found[2]) >= self.modseq
                self.modseq = int(found[2])

    def _learn(self, message: dict[str, Any], items: str) -> None:
        if uid := _UID.search(items):
            assert message.setdefault("uid", int(uid[1])) == int(uid[1]), f"number names another message during {self.said}"
        if modseq := _MODSEQ.search(items):
            assert int(modseq[1]) >= message.get("modseq", 0), "a mod-sequence went back"
            message["modseq"] = int(modseq[1])
        if flags := _FLAGS.search(items):
            message["flags"] = frozenset(flags[1].split()) - {"\\Recent"}

    # ---- what chance does

    async def act(self) -> None:
        if any("uid" not in message for message in self.known):
            await self.say("UID FETCH 1:* (UID FLAGS)")
        actions = (self.append, self.mark, self.flag, self.leave, self.look, self.idle, self.together, self.copy, self.replace)
        if len(self.known) > 50:  # where few messages are, commands meet
            actions = (self.leave,) * len(actions)
        await self.chance.choices(actions, (4, 6, 6, 5, 6, 1, 6, 1, 1))[0]()

    def _some(self) -> list[int]:
        uids = [m["uid"] for m in self.known if "uid" in m]
        return sorted(self.chance.sample(uids, min(len(uids), self.chance.choice((1, 1, 3, 8)))))

    def _message(self) -> tuple[str, str]:
        self.model.names += 1
        text = f"Subject: m{self.model.names}\r\n\r\nx\r\n"
        return f"m{self.model.names}", f"{{{len(text)}+}}\r\n{text}"

    async def append(self) -> None:
        made = [self._message() for _ in range(self.chance.choice((1, 1, 1, 3)))]
        answer = await self.say("APPEND INBOX" + "".join(f" () {literal}" for _, literal in made))
        found = re.match(r"t OK \[APPENDUID \d+ ([\d:,]+)\]", answer)
        assert found, answer
        for uid, (name, _) in zip(_numbers(found[1]), made, strict=True):
            self.model.born(uid, name)

    async def copy(self) -> None:
        """Into the same mailbox: twice the same message is two messages."""
        if uids := self._some():
            answer = await self.say(f"UID COPY {_set(uids)} INBOX")
            assert answer.startswith("t OK"), answer
            if found := re.match(r"t OK \[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", answer):
                self.model.copied += zip(_numbers(found[2]), _numbers(found[1]), strict=True)

    async def replace(self) -> None:
        if uids := self._some()[:1]:
            name, literal = self._message()
            self.model.doomed.update(uids)
            answer = await self.say(f"UID REPLACE {uids[0]} INBOX () {literal}")
            if answer.startswith("t OK"):
                self.model.born(self.stored, name)
            else:
                assert answer.startswith(("t NO [NONEXISTENT]", "t NO [EXPUNGEISSUED]")), answer

    async def together(self) -> None:
        """Several commands before any is answered, most of them alike."""
        commands: list[tuple[str, list[int], str]] = []
        on, silent = self.chance.random() < 0.7, self.chance.choice(("", ".SILENT"))
        mixed = ("store", "append", "body", "flags", "expunge", "turn")
        kinds = self.chance.choice((("store",), ("store",), ("append",), ("body",), mixed, mixed))
        for _ in range(self.chance.randrange(2, 7)):
            kind, uids = self.chance.choice(kinds), self._some()
            if kind == "turn":
                on = not on
            if kind == "append":
                name, literal = self._message()
                commands.append((f"APPEND INBOX () {literal}", [], name))
            elif not uids:
                commands.append(("NOOP", [], ""))
            elif kind in ("store", "turn"):
                commands.append((f"UID STORE {_set(uids)} {'+' if on else '-'}FLAGS{silent} ({self.own})", uids, ""))
            elif kind == "expunge":
                commands.append((f"UID EXPUNGE {_set(uids)}", [], ""))
            else:
                what, some = ("FLAGS", uids) if kind == "flags" else ("BODY.PEEK[]", uids[:1])
                commands.append((f"UID FETCH {_set(some)} ({what})", [], ""))
        self.model.commands += len(commands)
        lines = "\r\n".join(f"t{n} {command}" for n, (command, _, _) in enumerate(commands))
        octets = await self.ask(lines, f"t{len(commands) - 1} ")
        for n, (command, uids, name) in enumerate(commands):
            octets = self._one_of_them(n, octets, command, uids, name)

    def _one_of_them(self, n: int, octets: bytes, command: str, uids: Sequence[int], name: str) -> bytes:
        """Take the answer to command ``n``; returns what follows it."""
        self.said = command
        if ".SILENT" in command:
            self._expect(uids, self.own, on="+FLAGS" in command)
        found = re.search(rb"^t%d (.*)\r\n" % n, octets, re.MULTILINE)
        assert found is not None, (command, octets)
        assert found[1].startswith(b"OK") or ("BODY" in command and b"[EXPUNGEISSUED]" in found[1]), (command, octets)
        mine = octets[: found.start()]
        for uid, subject in re.findall(rb"UID (\d+) BODY\[\] \{\d+\}\r\nSubject: (\w+)\r\n", mine):
            assert self.model.appended.get(int(uid), subject.decode()) == subject.decode(), f"uid {uid} has the octets of {subject}"
        self.hear(mine, command)
        self.marked.update(dict.fromkeys(uids, "+FLAGS" in command))
        if name:
            appended = re.match(rb"OK \[APPENDUID \d+ (\d+)\]", found[1])
            assert appended, found[1]
            self.model.born(int(appended[1]), name)
        return octets[found.end() :]

    async def mark(self) -> None:
        """My own keyword, on messages that are still there or not."""
        uids, on = self._some(), self.chance.random() < 0.7
        silent = self.chance.choice(("", ".SILENT"))
        if uids:
            if silent:
                self._expect(uids, self.own, on=on)
            assert (await self.say(f"UID STORE {_set(uids)} {'+' if on else '-'}FLAGS{silent} ({self.own})")).startswith("t OK")
            self.marked.update(dict.fromkeys(uids, on))

    def _expect(self, uids: Sequence[int], flag: str, *, on: bool) -> None:
        """With .SILENT the client knows what it does; what it hears from then on, before the tagged answer too, is later and counts."""
        for message in self.known:
            if message.get("uid") in uids and "flags" in message:
                message["flags"] = message["flags"] | {flag} if on else message["flags"] - {flag}

    async def flag(self) -> None:
        """Flags that everybody changes; sometimes by number, sometimes only what nobody changed meanwhile."""
        uids, flag = self._some(), self.chance.choice(("\\Seen", "\\Flagged", "\\Deleted", "$shared"))
        sign = self.chance.choice("+-")
        if not uids:
            return
        at = self.chance.choice([at for at, message in enumerate(self.known) if "uid" in message])
        if (flag, sign) == ("\\Deleted", "+"):
            self.model.doomed.update(uids, [self.known[at]["uid"]])
        if self.chance.random() < 0.3:
            await self.say(f"STORE {at + 1} {sign}FLAGS ({flag})")
        elif self.qresync and self.chance.random() < 0.4:
            await self._flag_unchanged(uids[0], flag, sign)
        else:
            await self.say(f"UID STORE {_set(uids)} {sign}FLAGS ({flag})")

    async def _flag_unchanged(self, uid: int, flag: str, sign: str) -> None:
        message = next(m for m in self.known if m.get("uid") == uid)
        if since := message.get("modseq"):
            answer = await self.say(f"UID STORE {uid} (UNCHANGEDSINCE {since}) {sign}FLAGS ({flag})")
            if "[MODIFIED" not in answer and answer.startswith("t OK") and message in self.known:
                assert message["modseq"] >= since

    async def leave(self) -> None:
        """Messages go."""
        kind = self.chance.randrange(3)
        if kind == 0:
            await self.say("EXPUNGE")
        elif kind == 1 and self._some():
            uids = self._some()
            self.model.doomed.update(uids)
            self._expect(uids, "\\Deleted", on=True)
            await self.say(f"UID STORE {_set(uids)} +FLAGS.SILENT (\\Deleted)")
            await self.say(f"UID EXPUNGE {_set(uids)}")
        elif kind == 2 and (uids := self._some()):
            self.model.doomed.update(uids[:2])
            await self.say(f"UID MOVE {_set(uids[:2])} Trash")

    async def look(self) -> None:
        command = self.chance.choice(("NOOP", "FETCH 1:* (UID FLAGS)", "SEARCH UNSEEN", "UID FETCH 1:* (FLAGS)", "UID SEARCH SEEN"))
        if self.known or ":" not in command:
            assert (await self.say(command)).startswith("t OK"), command

    async def idle(self) -> None:
        await self.say("IDLE")
        await asyncio.sleep(self.chance.random() / 50)
        self.hear(self.transport.take(), "IDLE")
        self.said = "DONE"
        octets = await self.ask("DONE", "t ")
        self.hear(octets, "DONE")


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        low, _, high = part.partition(":")
        yield from range(int(low), int(high or low) + 1)


@pytest.mark.timeout(120 + 2 * SECONDS)
@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1), ("sqlite", 3), ("postgresql", 1), ("postgresql", 3)])
def test_whatever_runs_at_once_the_model_holds(
    kind: str, workers: int, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = kind if kind == "sqlite" else request.getfixturevalue("postgresql")()
    for module in (copy, expunge, regroup, store):
        monkeypatch.setattr(module, "SLICE", 3)  # long work is cut into pieces: here it is all long
    monkeypatch.setattr(together, "FEW", 2)
    asyncio.run(_run(lambda options: open_database(url, options), workers, tmp_path, random.Random(SEED)))


async def _run(make: Callable[[DatabaseOptions], Database], count: int, folder: Path, chance: random.Random) -> None:
    workers: list[Worker] = []
    first = await Worker(workers, database=make, data_dir=str(folder)).open()
    for _ in range(count - 1):
        await Worker(workers, database=make, data_dir=str(folder)).join(first)  # type: ignore[arg-type]
    model = Model()
    clients = [Client(n, model, random.Random(chance.random())) for n in range(CLIENTS)]
    try:
        for client in clients:
            await client.open(workers[client.number % count])
        absent = Client(CLIENTS + 1, model, chance)
        await absent.open(workers[0])
        await clients[0].append()
        await absent.say("NOOP")
        await absent.say("UID FETCH 1:* (UID FLAGS)")
        await absent.say("UNSELECT")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            await asyncio.gather(*(_spree(client, until) for client in clients))
            await _check(workers, clients, model)
            await _check_absent(workers, absent)
    except AssertionError as exc:
        raise AssertionError(f"MTA_MODEL_SEED={SEED}: {exc}") from exc
    finally:
        print(
            f"MTA_MODEL_SEED={SEED}: {model.commands} commands of {CLIENTS + 1} sessions, {len(model.appended)} messages, {len(clients[0].known)} at the end"
        )
        for worker in workers:
            await worker.server.drain(0.1)
            await worker.tasks.close(1.0)
            await worker.database.close()


async def _spree(client: Client, until: float) -> None:
    for _ in range(25):
        if time.monotonic() < until:
            await client.act()


async def _check(workers: Sequence[Worker], clients: Sequence[Client], model: Model) -> None:
    """Everybody has come to rest: all say what the database says."""
    model.settle()
    site = workers[0]
    inbox = await site.mailbox()
    changes = await site.store.changes(inbox, ModSeq(0))
    rows = list(changes.rows)
    uids = [row.uid for row in rows]
    assert uids == sorted(set(uids))
    assert set(uids) <= set(model.appended)
    assert not (lost := set(model.appended) - set(uids) - model.doomed), f"uids {sorted(lost)} are gone, and nobody did that"
    for row, octets in zip(rows, await site.store.read_many([row.blob for row in rows]), strict=True):
        assert octets.startswith(f"Subject: {model.appended[row.uid]}\r\n".encode()), f"uid {row.uid} names another message"
        assert row.modseq <= changes.highest_modseq
    status = await site.store.status(inbox)
    assert (status.messages, status.unseen) == (len(rows), sum(not row.flags & 1 for row in rows))
    for client in clients:
        await client.say("NOOP")
        assert len(client.known) == len(rows), f"client {client.number} counts {len(client.known)} of {len(rows)}"
        for believed, row in zip(client.known, rows, strict=True):
            flags = frozenset(encode_flags(row.flags, row.keywords).decode().split())
            assert believed.get("uid", row.uid) == row.uid
            assert believed.get("flags", flags) == flags, f"client {client.number} believes {believed} of {row}"
            if row.uid in client.marked:
                assert (client.own in flags) is client.marked[row.uid], f"{client.own} on {row}"
        await _check_found(client, rows)


async def _check_found(client: Client, rows: Sequence[Row]) -> None:
    octets = await client.ask(f"t UID SEARCH KEYWORD {client.own} UNSEEN", "t ")
    [found] = re.findall(rb"\* SEARCH([ \d]*)", octets)
    assert list(map(int, found.split())) == [row.uid for row in rows if client.own in row.keywords.split() and not row.flags & 1]
    if not client.qresync:  # whoever says CHANGEDSINCE is told of mod-sequences from then on
        return
    since = client.chance.choice([0, *(row.modseq for row in rows)])
    octets = await client.ask(f"t UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})", "t ")
    assert [int(uid) for uid in re.findall(rb"UID (\d+)", octets)] == [row.uid for row in rows if row.modseq > since]


async def _check_absent(workers: Sequence[Worker], absent: Client) -> None:
    """Who was away hears on return what it needs, and nothing else is asked for."""
    known = ",".join(str(m["uid"]) for m in absent.known) or "1"
    before = list(absent.known)
    absent.known = []
    absent.said = f"SELECT INBOX (QRESYNC ({absent.validity} {absent.modseq} {known}))"
    rows = list((await workers[0].store.changes(await workers[0].mailbox(), ModSeq(0))).rows)
    octets = await absent.ask(f"t {absent.said}", "t ")
    assert b"\r\nt OK" in octets, octets
    gone, flags = set(), {m["uid"]: m.get("flags") for m in before}
    for line in octets.decode().split("\r\n"):
        if line.startswith("* VANISHED (EARLIER)"):
            gone |= set(_numbers(line.rsplit(maxsplit=1)[-1]))
        elif (found := _FETCH.match(line)) and (uid := _UID.search(found[2])) and (words := _FLAGS.search(found[2])):
            flags[int(uid[1])] = frozenset(words[1].split()) - {"\\Recent"}
    believed = {uid: words for uid, words in flags.items() if uid not in gone}
    truth = {row.uid: frozenset(encode_flags(row.flags, row.keywords).decode().split()) for row in rows}
    asked = {m["uid"] for m in before}
    assert {u: f for u, f in believed.items() if u in asked} == {u: f for u, f in truth.items() if u in asked}
    assert not gone & set(truth)
    absent.hear(octets, absent.said)
    await absent.say("UID FETCH 1:* (UID FLAGS)")
    assert [m["uid"] for m in absent.known] == list(truth)
    await absent.say("UNSELECT")
