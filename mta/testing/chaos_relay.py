"""Kill the whole daemon while it relays to a next hop that fails at every step, and audit what arrived.

Every message that was acknowledged arrives, or its sender is told that it did not. It arrives again only when the answer to its final
dot was lost: by the next hop, which hung up instead, or by the daemon, which was killed before it had written the answer down.
"""
# SPDX-License-Identifier: Apache-2.0

import random
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from mta.testing.chaos import ChaosResult
from mta.testing.clients import Ledger, Load
from mta.testing.server import MailServer, wait_until
from mta.testing.sink import Received, Rule, Sink, Stage

OUT, SENDER = "out.test", "client.test"
"""Domains that the next hop takes: of the recipients, and of the senders, who get the reports."""
ANSWERED = 2.0
"""Seconds before a kill within which an answer may not have been written down yet, the machine being busy."""
READ = 1.0
"""Seconds after a kill within which the next hop may still read, and answer, what was sent before."""

_MESSAGE_ID = re.compile(rb"(?mi)^message-id:\s*(<[^>]*>)")
_FAULTS: dict[Stage, Sequence[tuple[float, str | None]]] = {
    "CONNECT": ((0.03, "421 4.3.2 too many connections"), (0.02, None)),
    "EHLO": ((0.02, None),),
    "MAIL": ((0.03, "451 4.3.0 later"), (0.01, None)),
    "RCPT": ((0.05, "450 4.2.1 busy"), (0.01, None)),
    "DATA": ((0.02, "451 4.3.0 later"), (0.01, None)),
    "DOT": ((0.04, "452 4.3.1 disk full"), (0.02, None)),
}
_REFUSED = 0.04  # of all recipients, for good
_LOST = 0.03  # of all messages: taken, and no answer


class FailingSink(Sink):
    """``arrivals``: by Message-ID, when it arrived and whether that was answered; ``reported``: of which senders were told."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.failing = True
        self.arrivals: dict[str, list[tuple[float, bool]]] = {}
        self.reported: set[str] = set()
        self.messages = _Journal(self)

    def rule(self, stage: Stage, line: str) -> Rule | None:
        if not self.failing:
            return None
        dice = self._chance.random()
        for share, reply in _FAULTS.get(stage, ()):
            if dice < share:
                return Rule(stage, reply, 1, "", 0.0)
            dice -= share
        if stage == "RCPT" and dice < _REFUSED and f"@{OUT}" in line:
            return Rule(stage, "550 5.1.1 no such user", 1, "", 0.0)
        return None

    def loses(self, mail: str, rcpts: Sequence[str], octets: bytes) -> bool:
        if not self.failing or self._chance.random() >= _LOST:
            return False
        self.note(mail, octets, answered=False)
        return True

    def note(self, mail: str, octets: bytes, *, answered: bool) -> None:
        with self._lock:
            if mail.upper().startswith("MAIL FROM:<>"):
                self.reported.update(found.decode() for found in _MESSAGE_ID.findall(octets)[1:])
            else:
                found = _MESSAGE_ID.search(octets)
                assert found is not None
                self.arrivals.setdefault(found[1].decode(), []).append((time.monotonic(), answered))


class _Journal(list[Received]):
    def __init__(self, sink: FailingSink) -> None:
        super().__init__()
        self._sink = sink

    def append(self, message: Received) -> None:
        self._sink.note(message.mail, message.octets, answered=True)


def config_for(sink: Sink) -> dict[str, Any]:
    """What a daemon needs to relay to it, with short waits."""
    hop = f"smtp://127.0.0.1:{sink.port}"
    queue = {"retry": [0.5, 1], "jitter": 0.1, "concurrency_per_destination": 8, "delay_warning": 0}
    return {"routes": {OUT: hop, SENDER: hop}, "relay": {"networks": ["127.0.0.0/8"]}, "queue": queue}


def kill_while_relaying(server: MailServer, sink: FailingSink, kills: int, *, seed: int = 0, threads: int = 3) -> ChaosResult:
    """``server`` runs with ``config_for(sink)``. Do so many rounds of load and SIGKILL, then let all drain, and audit."""
    chance, result, ledger, killed = random.Random(seed), ChaosResult(), Ledger(), list[float]()
    recipients = [f"{name}@{OUT}" for name in "abcdef"]
    while result.kills < kills:
        load = Load(server.smtp, recipients, threads=threads, ledger=ledger, size=chance.choice((600, 600, 20_000, 300_000)))
        with load:
            load.wait_acknowledged(1, 30)
            time.sleep(chance.uniform(0.0, 0.4))
            server.kill()
            killed.append(time.monotonic())
            load.stop()
        result.kills += 1
        result.restart = max(result.restart, server.start())
    sink.failing = False

    def settled() -> bool:
        return all(one in sink.arrivals or one in sink.reported for one in ledger.acknowledged)

    try:
        wait_until(settled, 60, "every acknowledged message at the next hop, or reported", 0.2)
        wait_until(lambda: server.queue_count() == 0, 60, "an empty queue", 0.5)
    except AssertionError as exc:
        result.faults.append(str(exc))
    result.acknowledged, result.unanswered = len(ledger.acknowledged), len(ledger.unknown)
    result.faults += audit(ledger, sink, killed)
    return result


def audit(ledger: Ledger, sink: FailingSink, killed: Sequence[float]) -> list[str]:
    """One line for each broken promise."""
    faults = [f"lost: {one}" for one in ledger.acknowledged if one not in sink.arrivals and one not in sink.reported]
    faults += [f"nobody sent: {one}" for one in sink.arrivals.keys() - ledger.sent]
    for one, arrivals in sink.arrivals.items():
        for at, answered in arrivals[:-1]:
            if answered and not any(-READ <= kill - at <= ANSWERED for kill in killed):
                nearest = min((kill - at for kill in killed), key=abs, default=0.0)
                faults.append(f"{len(arrivals)} times: {one}, though its answer was heard {nearest:.1f} s before a kill")
    return faults


def twice(sink: FailingSink) -> int:
    """Arrivals beyond the first."""
    return sum(len(arrivals) - 1 for arrivals in sink.arrivals.values())
