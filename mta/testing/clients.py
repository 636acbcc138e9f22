"""Load with a ledger, for tests that break things: what was promised, what is there.

Every message is sent once, under a Message-ID of its own. After the fault, ``audit`` compares the ledger with the
mailboxes: what was answered 250 is there exactly once, what was refused is not there, nothing is there that nobody sent.
A message whose answer never came may be there or not (RFC 5321 §4.2.5 leaves that to the sender), but not twice.
"""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import re
import smtplib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mta.testing.server import wait_until

_FETCHED = re.compile(rb"UID (\d+)", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"message-id:\s*(<[^>]*>)", re.IGNORECASE)


def compose(message_id: str, recipient: str, *, sender: str = "load@client.test", size: int = 600) -> bytes:
    """Return a message of about ``size`` octets, CRLF line ends."""
    head = f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: load\r\nMessage-ID: {message_id}\r\n\r\n"
    line = "0123456789" * 7 + "\r\n"
    return (head + line * max(1, (size - len(head)) // len(line))).encode("ascii")


@dataclass
class Ledger:
    """What the clients know. ``acknowledged`` maps the Message-ID to the monotonic time of the 250."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    slowest: float = 0.0

    @property
    def sent(self) -> set[str]:
        return self.acknowledged.keys() | self.refused.keys() | self.unknown

    def audit(self, found: Iterable[str], *, in_doubt: int = 0) -> list[str]:
        """Return one line for each broken promise, given the Message-IDs of the mailboxes.

        in_doubt  how many refused messages may be there: a disk that dies in the middle of a commit leaves open whether the
                  commit holds, so those in hand are refused (4yz, sent again) and may come back with the disk
        """
        times = Counter(found)
        faults = [f"lost: {m}" for m in self.acknowledged if m not in times]
        faults += [f"{n} times: {m}" for m, n in times.items() if n > 1]
        ghosts = [f"refused ({self.refused[m][0]}) yet there: {m}" for m in times if m in self.refused]
        faults += ghosts if len(ghosts) > in_doubt else []
        faults += [f"nobody sent: {m}" for m in times.keys() - self.sent]
        return faults


class Load:
    """Sender threads, each with one connection at a time and ``per_connection`` messages on it.

    connect  opens an SMTP client; OSError and SMTPException are survived: the thread tries again after ``pause``
    """

    def __init__(
        self,
        connect: Callable[[], smtplib.SMTP],
        recipients: Sequence[str],
        *,
        threads: int = 3,
        per_connection: int = 20,
        size: int = 600,
        pause: float = 0.02,
        ledger: Ledger | None = None,
    ) -> None:
        self._connect = connect
        self._recipients = recipients
        self._per_connection = per_connection
        self._size = size
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]
        self.ledger = Ledger() if ledger is None else ledger

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def stop(self, timeout: float = 30.0) -> Ledger:
        """End after the message in hand. Raises AssertionError when a thread does not."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                raise AssertionError(f"a client hangs for {timeout:g} s")
        return self.ledger

    def wait_acknowledged(self, more: int, timeout: float = 10.0) -> float:
        """Wait until ``more`` messages than now were answered 250. Returns the seconds it took."""
        goal = len(self.ledger.acknowledged) + more
        return wait_until(lambda: len(self.ledger.acknowledged) >= goal, timeout, f"{more} more messages acknowledged")

    def wait_refused(self, more: int, timeout: float = 10.0) -> float:
        """Wait until ``more`` messages than now were refused. Returns the seconds it took."""
        goal = len(self.ledger.refused) + more
        return wait_until(lambda: len(self.ledger.refused) >= goal, timeout, f"{more} more messages refused")

    def _run(self, number: int) -> None:
        recipient = self._recipients[number % len(self._recipients)]
        while not self._stop.is_set():
            try:
                client = self._connect()
            except (OSError, smtplib.SMTPException):
                self._stop.wait(self._pause)
                continue
            try:
                for _ in range(self._per_connection):
                    if self._stop.is_set() or not self._send(client, recipient):
                        break
            finally:
                client.close()

    def _send(self, client: smtplib.SMTP, recipient: str) -> bool:
        """Send one message; False when the connection is of no more use."""
        message_id = f"<{uuid.uuid4().hex}@client.test>"
        octets = compose(message_id, recipient, size=self._size)
        begin = time.monotonic()
        dotted = False
        try:
            for code, text in (client.mail("load@client.test"), client.rcpt(recipient)):
                if code >= 400:
                    return self._refused(message_id, code, text, client)
            dotted = True
            code, text = client.data(octets)
        except smtplib.SMTPDataError as exc:
            return self._refused(message_id, exc.smtp_code, exc.smtp_error, client)
        except (OSError, smtplib.SMTPException):
            if dotted:
                with self._lock:
                    self.ledger.unknown.add(message_id)
            return False
        end = time.monotonic()
        if code >= 400:
            return self._refused(message_id, code, text, client)
        with self._lock:
            self.ledger.acknowledged[message_id] = end
            self.ledger.slowest = max(self.ledger.slowest, end - begin)
        return True

    def _refused(self, message_id: str, code: int, text: Any, client: smtplib.SMTP) -> bool:
        with self._lock:
            self.ledger.refused[message_id] = (code, text.decode(errors="replace") if isinstance(text, bytes) else str(text))
        if code == 421:
            return False
        self._stop.wait(self._pause)
        try:
            return client.rset()[0] == 250
        except (OSError, smtplib.SMTPException):
            return False


def message_ids(client: imaplib.IMAP4, mailbox: str = "INBOX", *, above: int = 0) -> dict[int, str]:
    """Return UID → Message-ID of the messages with a UID greater than ``above``."""
    status, _ = client.select(mailbox, readonly=True)
    assert status == "OK"
    status, answer = client.uid("FETCH", f"{above + 1}:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert status == "OK"
    out: dict[int, str] = {}
    for item in answer:
        if not isinstance(item, tuple):
            continue
        uid, found = _FETCHED.search(item[0]), _MESSAGE_ID.search(item[1])
        if uid and int(uid[1]) > above:
            out[int(uid[1])] = found[1].decode("ascii", "replace") if found else ""
    return out
