"""Wake-ups between processes of one data_dir: Unix datagrams, one socket for each worker in data_dir/run/bus.

A datagram is a word and, for "mailboxes", ids: ``mailboxes 7 12``; for "login", a line of the throttle's. Nothing depends on its arrival: sessions in IDLE and the
dispatcher look again by themselves every few seconds. A full socket or a dead worker loses it.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from mta.app.places import Places, reachable
from mta.model.ids import MailboxId

Topic = Literal["queue", "flush", "outbox", "directory"]

_DATAGRAM = 8192
_LINES_AT_ONCE = 50
_IDS_AT_ONCE = 400  # 20 octets each at most: fits a datagram
_PEERS_KNOWN_FOR = 1.0
_GATHER = 0.002  # commits within this time share one datagram


class Bus:
    """One worker's end. ``mailboxes`` and ``topic`` are called in the event loop for what others said."""

    def __init__(
        self,
        places: Places,
        mailboxes: Callable[[Sequence[MailboxId]], None],
        topic: Callable[[str], None],
        logins: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._folder = places.bus
        self._path = places.bus / f"{os.getpid()}.sock"
        self._on_mailboxes = mailboxes
        self._on_topic = topic
        self._on_logins = logins
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._peers: list[str] = []
        self._peers_at = -_PEERS_KNOWN_FOR
        self._folder_fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._changed: set[MailboxId] = set()
        self._topics: set[str] = set()
        self._logins: list[str] = []
        self._pending = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        with reachable(self._path) as name:
            self._sock.bind(name)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._read)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        os.close(self._folder_fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def tell_mailboxes(self, ids: Iterable[MailboxId]) -> None:
        """Tell the other processes, with whatever else is said in the next two milliseconds."""
        self._changed.update(ids)
        self._soon()

    def tell(self, topic: Topic) -> None:
        self._topics.add(topic)
        self._soon()

    def tell_logins(self, line: str) -> None:
        """What the throttle of failed logins has to say; lost when there is too much of it."""
        if len(self._logins) < _LINES_AT_ONCE:
            self._logins.append(line)
            self._soon()

    def _soon(self) -> None:
        if self._loop is not None and not self._pending:
            self._pending = True
            self._loop.call_later(_GATHER, self._flush)

    def _flush(self) -> None:
        self._pending = False
        ids, self._changed = sorted(self._changed), set()
        topics, self._topics = self._topics, set()
        logins, self._logins = self._logins, []
        datagrams = [topic.encode() for topic in topics] + [f"login {line}".encode() for line in logins]
        pieces = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
        datagrams += [("mailboxes " + " ".join(map(str, piece))).encode() for piece in pieces]
        for peer in self._others():
            for datagram in datagrams:
                if not _send(self._sock, f"/proc/self/fd/{self._folder_fd}/{peer}", datagram):
                    self._peers_at = -_PEERS_KNOWN_FOR

    def _others(self) -> list[str]:
        assert self._loop is not None
        if self._loop.time() - self._peers_at >= _PEERS_KNOWN_FOR:
            self._peers = [name for name in os.listdir(self._folder) if name != self._path.name]
            self._peers_at = self._loop.time()
        return self._peers

    def _read(self) -> None:
        for _ in range(100):  # others' turn after that
            try:
                word, _, rest = self._sock.recv(_DATAGRAM).partition(b" ")
            except OSError:
                return
            if word == b"mailboxes":
                with contextlib.suppress(ValueError):
                    self._on_mailboxes([MailboxId(int(text)) for text in rest.split()])
            elif word == b"login":
                with contextlib.suppress(ValueError):
                    self._on_logins(rest.decode("ascii"))
            else:
                self._on_topic(word.decode("ascii", "replace"))


def _send(sock: socket.socket, peer: str, datagram: bytes) -> bool:
    """False when the peer is gone; its socket file is then removed."""
    try:
        sock.sendto(datagram, peer)
    except ConnectionRefusedError:
        with contextlib.suppress(OSError):
            os.unlink(peer)
        return False
    except (FileNotFoundError, PermissionError):
        return False
    except OSError:
        return True  # its queue is full: it will look by itself
    return True


def tell(folder: Path, topic: Topic | Sequence[MailboxId]) -> None:
    """For commands: wake every worker of a running server, or its sessions in these mailboxes; nothing happens when there is none."""
    if isinstance(topic, str):
        datagrams = [topic.encode()]
    else:
        pieces = (topic[start : start + _IDS_AT_ONCE] for start in range(0, len(topic), _IDS_AT_ONCE))
        datagrams = [("mailboxes " + " ".join(map(str, piece))).encode() for piece in pieces]
    try:
        names = os.listdir(folder)
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        for name in names:
            with reachable(folder / name) as peer:
                for datagram in datagrams:
                    _send(sock, peer, datagram)
