"""Kill the whole daemon at random moments under load and audit what is left, again and again.

One round: senders run, after a random time SIGKILL goes to the process group, the daemon is started again, and every
mailbox is read by IMAP: new messages by UID, so that a round costs what it added.
"""
# SPDX-License-Identifier: Apache-2.0

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mta.testing.clients import Ledger, Load, message_ids
from mta.testing.server import MailServer


@dataclass
class ChaosResult:
    """What happened. ``faults`` is empty when every promise was kept; ``restart`` is the slowest start in seconds."""

    kills: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    restart: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        head = f"{self.kills} kills, {self.acknowledged} acknowledged, {self.unanswered} unanswered, slowest start {self.restart:.2f} s"
        return head + f", {len(self.faults)} faults" + "".join(f"\n  {fault}" for fault in self.faults[:20])


class _Mailboxes:
    """Everything seen so far, by user and UID; a UID whose message changes or that goes away is a fault."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self.seen: dict[str, dict[int, str]] = {user: {} for user in server.users}
        self.validity: dict[str, bytes] = {}

    def read(self) -> list[str]:
        faults = []
        for user, seen in self.seen.items():
            with self._server.imap(user, timeout=60) as box:
                seen.update(message_ids(box, above=max(seen, default=0)))
                validity = box.response("UIDVALIDITY")[1][0]
                _, exists = box.response("EXISTS")
                if self.validity.setdefault(user, validity) != validity:
                    faults.append(f"{user}: UIDVALIDITY changed")
                if exists[-1] is not None and int(exists[-1]) != len(seen):
                    faults.append(f"{user}: {exists[-1]!r} messages exist, {len(seen)} were seen")
        return faults

    @property
    def ids(self) -> Counter[str]:
        return Counter(message_id for seen in self.seen.values() for message_id in seen.values())


def kill_at_random_moments(
    server: MailServer,
    kills: int,
    *,
    seed: int = 0,
    threads: int = 4,
    load: tuple[float, float] = (0.15, 0.8),
    seconds: float = 0.0,
    settled: Callable[[], object] | None = None,
) -> ChaosResult:
    """Do ``kills`` rounds, each with load for a random time within ``load``; stop early after ``seconds`` when given.

    ``settled``: called after each start, returns when what was accepted is in its mailbox (where that is not one transaction).
    """
    chance = random.Random(seed)
    result, ledger, mailboxes = ChaosResult(), Ledger(), _Mailboxes(server)
    end = time.monotonic() + seconds if seconds else float("inf")
    while result.kills < kills and time.monotonic() < end and not result.faults:
        senders = Load(server.smtp, server.users, threads=threads, ledger=ledger, size=chance.choice((600, 600, 9000, 300_000)))
        with senders:
            time.sleep(chance.uniform(*load))
            server.kill()
            senders.stop()
        result.kills += 1
        result.restart = max(result.restart, server.start())
        if settled is not None:
            settled()
        result.faults += mailboxes.read()
        result.faults += ledger.audit(mailboxes.ids.elements())
    result.acknowledged, result.unanswered = len(ledger.acknowledged), len(ledger.unknown)
    return result
