"""Kill the whole daemon while it relays to a next hop that fails at every step, and audit what arrived.

Every message that was acknowledged arrives, or its sender is told that it did not. It arrives again only when the answer to its final
dot was lost: by the next hop, which hung up instead, or with the daemon, which was killed before it had written down what came of it.

What counts is what was seen, not when. The next hop notes of each message what it answered and whether the other side read that
(``sink.Ending``). After each kill, while nobody runs, the queue's rows are read: what is still there had no result. Connections that
began before the kill have all ended by then, so each arrival belongs to one daemon (``era``: how many were killed before it).
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import random
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from mta.testing.chaos import ChaosResult
from mta.testing.chaos_edit import WRONG, Edits, audit_edits, editing, rows
from mta.testing.clients import Ledger, Load
from mta.testing.server import MailServer, wait_until
from mta.testing.sink import Ending, Rule, Sink, Stage

OUT, SENDER = "out.test", "client.test"
"""Domains that the next hop takes: of the recipients, and of the senders, who get the reports."""
MESSAGES = "SELECT message_id FROM queue_messages"

_MESSAGE_ID = re.compile(rb"(?mi)^message-id:\s*(<[^>]*>)")
_FAULTS: dict[Stage, Sequence[tuple[float, str | None]]] = {
    "CONNECT": ((0.03, "421 4.3.2 too many connections"), (0.02, None)),
    "EHLO": ((0.02, None),),
    "MAIL": ((0.03, "451 4.3.0 later"), (0.01, None)),
    "RCPT": ((0.05, "450 4.2.1 busy"), (0.01, None)),
    "DATA": ((0.02, "451 4.3.0 later"), (0.01, None)),
    "DOT": ((0.04, "452 4.3.1 disk full"), (0.02, None)),
}
_COMMANDS = (
    ("hold", "--all"),
    ("hold", "--recipient", f"a@{OUT}"),
    ("release", "--all"),
    ("flush", "--all"),
    ("delete", "--recipient", f"unwanted@{OUT}", "--yes"),
)
_UNREACHED = 0.6  # of the attempts for who is to be replaced
_REFUSED = 0.04  # of all recipients, for good
_LOST = 0.03  # of all messages: taken, and no answer


class Arrival(NamedTuple):
    era: int
    ending: Ending


class Kill(NamedTuple):
    """``group``: the process group; ``at``: monotonic, when the signal was sent; ``queued``: Message-IDs that had no result then."""

    group: int
    at: float
    queued: frozenset[str]


class FailingSink(Sink):
    """``arrivals``: by Message-ID, reports among them; ``reported``: by the Message-ID that it is about, those of the reports."""

    def __init__(self, seed: int) -> None:
        super().__init__(keep=False)
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._endings: list[tuple[str, Arrival]] = []
        self.era = 0
        self.failing = True
        self.reported: dict[str, set[str]] = {}

    def rule(self, stage: Stage, line: str) -> Rule | None:
        if not self.failing:
            return None
        dice = self._chance.random()
        for share, reply in _FAULTS.get(stage, ()):
            if dice < share:
                return Rule(stage, reply, 1, "", 0.0)
            dice -= share
        if stage == "RCPT" and WRONG in line and self._chance.random() < _UNREACHED:
            return Rule(stage, "450 4.2.1 busy", 1, "", 0.0)
        if stage == "RCPT" and dice < _REFUSED and f"@{OUT}" in line:
            return Rule(stage, "550 5.1.1 no such user", 1, "", 0.0)
        return None

    def loses(self, mail: str, rcpts: Sequence[str], octets: bytes) -> bool:
        return self.failing and self._chance.random() < _LOST

    def ends(self, ending: Ending) -> None:
        name, *others = (found.decode() for found in _MESSAGE_ID.findall(ending.octets))
        ending.octets = b""
        with self._lock:
            self._endings.append((name, Arrival(self.era, ending)))
            if ending.mail.upper().startswith("MAIL FROM:<>"):
                for other in others:
                    self.reported.setdefault(other, set()).add(name)

    @property
    def arrivals(self) -> dict[str, list[Arrival]]:
        out: dict[str, list[Arrival]] = {}
        with self._lock:
            for name, arrival in self._endings:
                if arrival.ending.taken:
                    out.setdefault(name, []).append(arrival)
        return out

    def wait_alone(self) -> None:
        """Until every connection that was made before has ended; nobody is left to make one."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10) as last:
            last.recv(1)  # the system hands connections over in their order
        wait_until(lambda: not self.open, 10, "connections of who was killed have ended", 0.002)


def config_for(sink: Sink) -> dict[str, Any]:
    """What a daemon needs to relay to it, with short waits."""
    hop = f"smtp://127.0.0.1:{sink.port}"
    queue = {"retry": [0.5, 1], "jitter": 0.1, "concurrency_per_destination": 8, "delay_warning": 0}
    return {"routes": {OUT: hop, SENDER: hop}, "relay": {"networks": ["127.0.0.0/8"]}, "queue": queue}


@dataclass
class RelayResult(ChaosResult):
    """``again``: arrivals beyond the first by what became of the answer to the one before; ``unwritten``: the longest time, in seconds,
    that an answer was here, and read, without a result in the queue, as kills found it."""

    arrived: int = 0
    reported: int = 0
    again: Counter[str] = field(default_factory=Counter)
    unwritten: float = 0.0
    edits: Edits = field(default_factory=Edits)

    def __str__(self) -> str:
        again = ", ".join(f"{count} {why}" for why, count in sorted(self.again.items()))
        said = f"{self.arrived} arrived, {self.reported} reported, {self.again.total()} came again"
        edits = f", {self.edits}" if self.edits.asked else ""
        return (
            f"{said}{f' ({again})' if again else ''}{edits}, longest without a result {self.unwritten:.3f} s; {super().__str__()}"
        )


def kill_while_relaying(
    server: MailServer, sink: FailingSink, kills: int, *, seed: int = 0, threads: int = 3, operator: bool = False
) -> RelayResult:
    """``server`` runs with ``config_for(sink)``. Do so many rounds of load and SIGKILL, then let all drain, and audit.

    operator  in each round somebody holds, releases, flushes or deletes, and somebody gives messages another recipient, and both die
              with the daemon; what was deleted may arrive or not
    """
    chance, result, ledger, unwanted, killed = random.Random(seed), RelayResult(), Ledger(), Ledger(), list[Kill]()
    recipients = [f"{name}@{OUT}" for name in "abcdef"]
    while result.kills < kills:
        load = Load(server.smtp, recipients, threads=threads, ledger=ledger, size=chance.choice((600, 600, 20_000, 300_000)))
        other = Load(server.smtp, [f"unwanted@{OUT}"], threads=int(operator), ledger=unwanted)
        wrong = Load(server.smtp, [WRONG], threads=int(operator), ledger=ledger)
        with load, other, wrong:
            load.wait_acknowledged(1, 30)
            edits = editing(server, result.edits, chance) if operator else contextlib.nullcontext()
            with edits, _at_work(server, chance.choice(_COMMANDS) if operator else ()) as command:
                time.sleep(chance.uniform(0.0, 0.4))
                if command is not None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        command.wait(chance.uniform(0.5, 3.0))
                group, at = server.pid, time.monotonic()
                server.kill()
        sink.wait_alone()
        killed.append(Kill(group, at, queued(server)))
        sink.era += 1
        result.kills += 1
        result.restart = max(result.restart, server.start())
    if (verified := server.cli("mailbox", "verify", check=False, timeout=120)).returncode:
        result.faults.append(f"damaged: {verified.stdout.decode()} {verified.stderr.decode()}")
    sink.failing = False
    if operator:
        server.cli("queue", "release", "--all")

    def settled() -> bool:
        arrivals = sink.arrivals
        return all(one in arrivals or one in sink.reported for one in ledger.acknowledged)

    try:
        wait_until(settled, 60, "every acknowledged message at the next hop, or reported", 0.2)
        wait_until(lambda: server.queue_count() == 0, 60, "an empty queue", 0.5)
    except AssertionError as exc:
        result.faults.append(str(exc))
    result.acknowledged, result.unanswered = len(ledger.acknowledged), len(ledger.unknown)
    audit(result, ledger, sink, killed, unwanted.sent)
    endings = {name: [arrival.ending for arrival in arrivals] for name, arrivals in sink.arrivals.items()}
    result.faults += audit_edits(result.edits, endings, sink.reported)
    return result


@contextlib.contextmanager
def _at_work(server: MailServer, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes] | None]:
    """``mta queue WORDS``, until it ends or we do."""
    if not words:
        yield None
        return
    command = subprocess.Popen(server.command("queue", *words), cwd=server.directory, stdout=subprocess.DEVNULL)
    try:
        yield command
    finally:
        command.kill()
        command.wait(10)


def queued(server: MailServer) -> frozenset[str]:
    """Message-IDs in the queue of a daemon that is gone. The files stay as it left them."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"

    def alone(connection: Any) -> None:  # what the daemon sent last may still be at work
        wait_until(lambda: connection.execute(others).fetchone() == (0,), 10, "the database has let go of who was killed", 0.01)

    return frozenset(row[0] for row in rows(server, MESSAGES, alone))


def audit(result: RelayResult, ledger: Ledger, sink: FailingSink, killed: Sequence[Kill], unwanted: Set[str] = frozenset()) -> None:
    """Count; ``faults`` gets one line for each broken promise. ``unwanted``: sent as well, and may be lost."""
    arrivals = sink.arrivals
    result.arrived, result.reported = len(arrivals.keys() & ledger.sent), len(sink.reported)
    reports = {name for names in sink.reported.values() for name in names}
    result.faults += [f"lost: {one}" for one in ledger.acknowledged if one not in arrivals and one not in sink.reported]
    result.faults += [f"nobody sent: {one}" for one in (arrivals.keys() | sink.reported) - ledger.sent - unwanted - reports]
    result.faults += [f"reported {len(names)} times: {one}" for one, names in sink.reported.items() if len(names) > 1]
    for name, times in arrivals.items():
        for before, after in pairwise(times):
            why = _lost(name, before, after, killed)
            if why is None:
                result.faults.append(f"{len(times)} times: {name}, {_told(before, killed)}")
            else:
                result.again[why] += 1
                if why == _READ:
                    result.unwritten = max(result.unwritten, killed[before.era].at - before.ending.written)


_HUNG_UP, _UNREAD, _READ = "not answered", "killed before it read the answer", "killed before it wrote down the answer"


def _lost(name: str, arrival: Arrival, again: Arrival, killed: Sequence[Kill]) -> str | None:
    """How the answer to this arrival was lost; None: it was not."""
    era, ending = arrival
    if ending.reply is None:
        return _HUNG_UP
    if again.era == era or name not in killed[era].queued:
        return None
    return _READ if ending.read else _UNREAD


def _told(arrival: Arrival, killed: Sequence[Kill]) -> str:
    """What is known of an arrival whose answer was not lost."""
    era, ending = arrival
    said = f"answered {ending.reply!r}, {'written' if ending.written else 'not written'}, then {ending.then or 'nothing'}"
    if era < len(killed):
        said += f"; process group {killed[era].group} was killed {killed[era].at - ending.at:.3f} s after the dot"
    return said
