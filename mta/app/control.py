"""The supervisor's ear: data_dir/run/control.sock, one JSON line in, one JSON line out, then closed.

``{"command": "status"}``, ``live`` (the numbers of all workers: mta.app.live), ``reload`` (answers when the new workers serve, or why not), ``stop``. Mode 0600: root and the
account that started the server.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mta.app.places import reachable

_LONGEST = 4096
_MOST = 16
Answer = dict[str, Any]


class Call:
    """One client, from its line to its answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.octets = b""

    def answer(self, **values: Any) -> None:
        with suppress(OSError):
            self.sock.settimeout(1.0)
            self.sock.sendall(json.dumps(values).encode() + b"\n")
        self.sock.close()


class Control:
    """``act(command, call)`` answers, now or later."""

    def __init__(self, path: Path, selector: selectors.BaseSelector, act: Callable[[str, Call], None]) -> None:
        self._path, self._selector, self._act = path, selector, act
        self._calls: set[Call] = set()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            path.unlink()
        old = os.umask(0o177)
        try:
            with reachable(path) as name:
                self._sock.bind(name)
        finally:
            os.umask(old)
        self._sock.listen(_MOST)
        self._sock.setblocking(False)
        selector.register(self._sock, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if len(self._calls) >= _MOST:
            sock.close()
            return
        sock.setblocking(False)
        call = Call(sock)
        self._calls.add(call)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._read(call))

    def _read(self, call: Call) -> None:
        try:
            octets = call.sock.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        call.octets += octets
        if octets and b"\n" not in call.octets and len(call.octets) <= _LONGEST:
            return
        self._selector.unregister(call.sock)
        self._calls.discard(call)
        try:
            command = str(json.loads(call.octets)["command"])
        except (ValueError, TypeError, KeyError):
            call.answer(ok=False, error="no command")
            return
        self._act(command, call)

    def close(self) -> None:
        for call in self._calls:
            self._selector.unregister(call.sock)
            call.sock.close()
        self._selector.unregister(self._sock)
        self._sock.close()
        with suppress(FileNotFoundError):
            self._path.unlink()

    def close_in_child(self) -> None:
        """After fork: the descriptors alone."""
        self._sock.close()
        for call in self._calls:
            call.sock.close()


def ask(path: Path, command: str, timeout: float = 10.0) -> Answer | None:
    """Ask the running supervisor; None when there is none. Raises TimeoutError, PermissionError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            with reachable(path) as name:
                sock.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        sock.sendall(json.dumps({"command": command}).encode() + b"\n")
        with sock.makefile("rb") as stream:
            line = stream.readline()
    answer: Answer = json.loads(line) if line else {"ok": False, "error": "the server closed the connection"}
    return answer
