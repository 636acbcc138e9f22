"""Bus, control socket, sockets and places with real files and sockets."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import selectors
import socket
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from mta.app import bus, control, sockets
from mta.app.lock import DispatchLock
from mta.app.places import Places
from mta.config.load import loads
from mta.model.errors import ConfigError
from mta.model.ids import MailboxId
from mta.testing.server import free_port


@pytest.fixture(params=["short", "long" * 30])
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Places:
    """Socket paths that fit into sun_path and that do not."""
    made = Places(str(tmp_path / request.param / "data"))
    made.prepare()
    return made


def test_folders_have_their_modes(places: Places) -> None:
    modes = {
        name: stat.S_IMODE((places.data_dir / name).stat().st_mode) for name in (".", "run", "run/bus", "maildrop", "tmp", "tls")
    }
    assert modes == {".": 0o711, "run": 0o755, "run/bus": 0o700, "maildrop": 0o1733, "tmp": 0o700, "tls": 0o700}
    places.maildrop.chmod(0o755)
    places.prepare()
    assert stat.S_IMODE(places.maildrop.stat().st_mode) == 0o1733


def test_the_bus_tells_others_together(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Sequence[MailboxId]] = []
    topics: list[str] = []

    async def run() -> None:
        one = bus.Bus(places, heard.append, topics.append)
        one.open()
        monkeypatch.setattr(os, "getpid", lambda: 999_999_999)
        two = bus.Bus(places, lambda _ids: None, lambda _t: None)
        two.open()
        (places.bus / "888888888.sock").touch()  # left by a worker that crashed
        for i in range(1000):
            two.tell_mailboxes([MailboxId(i % 500)])
        two.tell("outbox")
        for _ in range(100):
            await asyncio.sleep(0.01)
            if topics and sum(map(len, heard)) == 500:
                break
        bus.tell(places.bus, "queue")
        await asyncio.sleep(0.05)
        one.close()
        two.tell("queue")  # to nobody
        await asyncio.sleep(0.05)
        two.close()

    asyncio.run(run())
    assert sorted(i for ids in heard for i in ids) == list(range(500))
    assert len(heard) == 2, "four hundred ids in a datagram"
    assert topics == ["outbox", "queue"]
    assert list(places.bus.iterdir()) == [], "what nobody reads is swept"


def test_telling_where_no_server_ever_ran(tmp_path: Path) -> None:
    bus.tell(tmp_path / "no", "queue")


def test_control_answers_and_survives_nonsense(places: Places) -> None:
    selector = selectors.DefaultSelector()
    server = control.Control(places.control, selector, lambda command, call: call.answer(ok=True, said=command))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            for key, _ in selector.select(0.05):
                key.data()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert stat.S_IMODE(places.control.stat().st_mode) == 0o600
        assert control.ask(places.control, "status") == {"ok": True, "said": "status"}
        if len(str(places.control)) < 100:
            for octets in (b"", b"nonsense\n", b"[]\n", b"x" * 5000):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(places.control))
                    client.sendall(octets)
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(5)
                    assert client.recv(100).startswith(b'{"ok": false')
        assert control.ask(places.control, "status") == {"ok": True, "said": "status"}
    finally:
        stop.set()
        thread.join()
        server.close()
    assert control.ask(places.control, "status") is None


def test_one_holder_of_the_lock(tmp_path: Path) -> None:
    first, second = DispatchLock(tmp_path / "lock"), DispatchLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


# ---- sockets


def bound(
    text: str, places: Places, kept: Sequence[sockets.Listening] = (), handed: Sequence[socket.socket] = ()
) -> list[sockets.Listening]:
    return sockets.bind(loads(text, "/x.yaml"), places.sendmail, {one.key: one.sock for one in kept}, handed)


def test_sockets_are_bound_and_kept(places: Places) -> None:
    port, other = free_port(), free_port()
    first = bound(f"listen: ['smtp://127.0.0.1:{port}', 'imap://*:{other}']", places)
    try:
        assert [one.spec.protocol for one in first] == ["smtp", "imap", "submission"]
        assert stat.S_IMODE(places.sendmail.stat().st_mode) == 0o666
        for host in ("127.0.0.1", "::1") if first[1].sock.family == socket.AF_INET6 else ("127.0.0.1",):
            socket.create_connection((host, other), 5).close()
        again = bound(f"listen: ['pop3://127.0.0.1:{port}']", places, first)
        assert again[0].sock is first[0].sock
        assert again[0].spec.protocol == "pop3"
        assert again[1].sock is first[2].sock
        with pytest.raises(
            ConfigError, match=rf"/x\.yaml:1: listen\[0\]: cannot listen on smtp://127\.0\.0\.1:{port}: .*in use.*Fix: "
        ):
            bound(f"listen: ['smtp://127.0.0.1:{port}']", places)
        with pytest.raises(ConfigError, match=r"data_dir: cannot listen on .*in use"):
            bound(f"listen: ['smtp://127.0.0.1:{free_port()}']", places)
    finally:
        for one in first:
            one.sock.close()
    left = bound(f"listen: ['smtp://127.0.0.1:{port}']", places)  # the socket file of a crashed server is in nobody's way
    for one in left:
        one.sock.close()


def test_the_same_place_twice(places: Places) -> None:
    port = free_port()
    with pytest.raises(ConfigError, match=r"in use|same place"):
        bound(f"listen: ['smtp://127.0.0.1:{port}', 'imap://127.0.0.1:{port}']", places)
    socket.create_server(("127.0.0.1", port)).close()  # nothing stayed open


def test_sockets_from_systemd_are_taken(places: Places) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as handed:
        found = bound(f"listen: ['smtp://127.0.0.1:{port}']", places, handed=[handed])
        assert found[0].sock is handed
        found[1].sock.close()
