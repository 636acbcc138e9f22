"""Binds what the config says to listen on, or takes it from systemd; keeps sockets over a reload."""
# SPDX-License-Identifier: Apache-2.0

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mta.app.places import reachable
from mta.config.load import LoadedConfig
from mta.model.errors import ConfigError
from mta.net.listener import ListenerSpec

_BACKLOG = 1024
Key = tuple[int, Any]
"""Family and address."""


@dataclass(frozen=True, slots=True)
class Listening:
    spec: ListenerSpec
    key: Key
    sock: socket.socket

    def describe(self) -> str:
        return self.spec.path or _text(self.key[1])


def _text(address: Any) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def specs(loaded: LoadedConfig, sendmail: Path) -> list[tuple[str, ListenerSpec]]:
    """Config key and listener, the sendmail command's own last. Raises ConfigError when there is nothing to serve."""
    if not loaded.config.listen:
        raise loaded.mistake("listen", "nothing to serve", "add a list such as [smtp://127.0.0.1:2525, imap://127.0.0.1:2143].")
    found = [(f"listen[{i}]", ListenerSpec.of(entry)) for i, entry in enumerate(loaded.config.listen)]
    return [*found, ("data_dir", ListenerSpec.sendmail(str(sendmail)))]


def bind(
    loaded: LoadedConfig, sendmail: Path, kept: Mapping[Key, socket.socket], handed: Iterable[socket.socket] = ()
) -> list[Listening]:
    """Bind everything; sockets of ``kept`` and ``handed`` are used again. Raises ConfigError; nothing new stays open then."""
    have: dict[Key, socket.socket] = {**{(s.family, s.getsockname()): s for s in handed}, **kept}
    out: list[Listening] = []
    try:
        for key, spec in specs(loaded, sendmail):
            try:
                out += _bind_one(spec, have)
            except OSError as exc:
                raise loaded.mistake(key, f"cannot listen on {spec.url}: {exc.strerror or exc}", _fix(exc, spec)) from exc
        seen: dict[Key, ListenerSpec] = {}
        for one in out:
            if one.key in seen:
                raise ConfigError(loaded.where("listen"), "listen", f"{one.spec.url} and {seen[one.key].url} are the same place")
            seen[one.key] = one.spec
    except ConfigError:
        for one in out:
            if one.sock not in have.values():
                one.sock.close()
        raise
    return out


def _fix(exc: OSError, spec: ListenerSpec) -> str:
    if exc.errno == errno.EADDRINUSE:
        place = spec.path or f"port {spec.port}"
        return f"another program (or another mta) has {place}: stop it (ss -ltnp names it) or listen elsewhere."
    if exc.errno in (errno.EACCES, errno.EPERM):
        return "start as root, or through systemd, which may bind ports below 1024 for us; or take a port above 1023."
    if exc.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address (ip address shows its own)."
    return "check host, port and path."


def _bind_one(spec: ListenerSpec, have: Mapping[Key, socket.socket]) -> list[Listening]:
    if spec.path:
        key: Key = (socket.AF_UNIX, spec.path)
        return [Listening(spec, key, have[key] if key in have else _unix(spec))]
    if not spec.host:
        return [_any(spec, have)]
    found = socket.getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    out: dict[Key, Listening] = {}
    for family, _, _, _, address in found:
        key = (family, address)
        if key not in out:
            out[key] = Listening(spec, key, have[key] if key in have else _tcp(family, address))
    return list(out.values())


def _any(spec: ListenerSpec, have: Mapping[Key, socket.socket]) -> Listening:
    """Every address, IPv6 and IPv4 by one socket where the machine has IPv6."""
    both: Key = (socket.AF_INET6, ("::", spec.port, 0, 0))
    four: Key = (socket.AF_INET, ("0.0.0.0", spec.port))  # noqa: S104  # asked for by the config
    for key in (both, four):
        if key in have:
            return Listening(spec, key, have[key])
    try:
        return Listening(spec, both, _tcp(*both, only_six=False))
    except OSError as exc:
        if exc.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
    return Listening(spec, four, _tcp(*four))


def _tcp(family: int, address: Any, *, only_six: bool = True) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_six)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(spec: ListenerSpec) -> socket.socket:
    """World-connectable: who speaks is known by SO_PEERCRED or, for LMTP, decided by the folder's mode."""
    path = Path(spec.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reachable(path) as name:
            if _is_socket(path):
                _refuse_if_alive(name)
                os.unlink(path)
            sock.bind(name)
        os.chmod(path, 0o666)  # noqa: S103  # see above
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _refuse_if_alive(name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
