"""What systemd wants to know and what it hands over: sd_notify(3), sd_listen_fds(3), without its library."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import socket

_FIRST_FD = 3


def notify(**state: object) -> None:
    """``notify(READY=1, STATUS="…")``; does nothing outside a Type=notify unit."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    text = "\n".join(f"{key}={value}" for key, value in state.items())
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        sock.send(text.encode())


def handed_over() -> list[socket.socket]:
    """Listening sockets from the unit's socket units; taken once, so that children do not take them again."""
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    out = []
    for fd in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(fd, False)
        out.append(socket.socket(fileno=fd))
    return out
