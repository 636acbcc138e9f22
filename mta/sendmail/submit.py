"""Handing over: by SMTP on the server's local socket, or, when nobody listens, as a file in the maildrop folder."""
# SPDX-License-Identifier: Apache-2.0

import os

try:
    import _socket as socket  # what the socket module wraps: six milliseconds less
except ImportError:  # not CPython
    import socket  # type: ignore[no-redef]

NO_USER = 67
_TIMEOUT = 600.0
_LONGEST_SOCKET_PATH = 100
_LONGEST_REPLY = 65536


class Refused(Exception):
    """The server's word; ``status`` is the exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class NotRunning(Exception):
    """Nobody listens."""


class Envelope:
    def __init__(self, sender: str, recipients: list[str], notify: str = "", ret: str = "", envid: str = "") -> None:
        self.sender, self.recipients = sender, recipients
        self.notify, self.ret, self.envid = notify, ret, envid

    def commands(self, message: bytes) -> list[bytes]:
        """MAIL and RCPTs with their parameters."""
        mail = f"MAIL FROM:<{self.sender}> SIZE={len(message)}"
        if not message.isascii():
            mail += " BODY=8BITMIME"
        if not (self.sender + "".join(self.recipients)).isascii():
            mail += " SMTPUTF8"
        mail += f" RET={self.ret}" if self.ret else ""
        mail += f" ENVID={_xtext(self.envid)}" if self.envid else ""
        notify = f" NOTIFY={self.notify}" if self.notify else ""
        return [_line(mail), *[_line(f"RCPT TO:<{address}>{notify}") for address in self.recipients]]


def _line(text: str) -> bytes:
    if any(c in text for c in "\r\n\0"):
        raise Refused(65, "line end in an address")
    return text.encode("utf-8", "surrogateescape") + b"\r\n"


def _xtext(text: str) -> str:
    return "".join(c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{b:02X}" for b in c.encode()) for c in text)


def by_socket(path: str, hostname: str, envelope: Envelope, message: bytes) -> None:
    """Durable when it returns. Raises NotRunning, Refused."""
    commands = envelope.commands(message)
    link = _connect(path)
    replies = Replies(link)
    try:
        _expect(replies, 2)
        link.sendall(_line(f"EHLO {hostname}"))
        _expect(replies, 2)
        link.sendall(b"".join(commands))
        mail = _reply(replies)
        answers = [_reply(replies) for _ in envelope.recipients]
        if mail[0] // 100 != 2:
            raise Refused(_status(mail), mail[1])
        bad = [answer for answer in answers if answer[0] // 100 != 2]
        if bad:  # some good, some unknown is settled by the maildrop: good ones served, a bounce for the rest
            link.sendall(b"QUIT\r\n")
            if len(bad) == len(answers) or any(answer[0] // 100 == 4 for answer in bad):
                raise Refused(_status(bad[0]), bad[0][1])
            raise NotRunning(bad[0][1])
        link.sendall(b"DATA\r\n")
        _expect(replies, 3)
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        link.sendall((b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
        _expect(replies, 2)
        link.sendall(b"QUIT\r\n")
    except OSError as exc:
        raise Refused(75, f"the server hung up; whether the message was taken is not known: {exc.strerror or exc}") from exc
    finally:
        link.close()


class Replies:
    """Lines from the server."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._octets = b""

    def line(self) -> bytes:
        """b"" at the end of the stream."""
        while b"\n" not in self._octets and len(self._octets) < _LONGEST_REPLY:
            octets = self._link.recv(4096)
            if not octets:
                break
            self._octets += octets
        line, _, self._octets = self._octets.partition(b"\n")
        return line


def _connect(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(_TIMEOUT)
    folder = -1
    try:
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
        link.connect(path)
    except OSError as exc:
        link.close()
        raise NotRunning(exc.strerror or "cannot connect") from exc
    finally:
        if folder >= 0:
            os.close(folder)
    return link


def _reply(replies: Replies) -> tuple[int, str]:
    while True:
        line = replies.line()
        if len(line) < 4 or not line[:3].isdigit():
            raise Refused(75, "the server hung up; the message was not taken")
        if line[3:4] != b"-":
            return int(line[:3]), line.rstrip().decode("utf-8", "replace")


def _expect(replies: Replies, kind: int) -> None:
    answer = _reply(replies)
    if answer[0] // 100 != kind:
        raise Refused(_status(answer), answer[1])


def _status(answer: tuple[int, str]) -> int:
    """Sysexits for a refusal: no such user 67, bad address 65, temporary 75, else unavailable 69."""
    code, text = answer
    if code // 100 == 4:
        return 75
    if " 5.1.1 " in text:
        return NO_USER
    if " 5.1.3 " in text or " 5.1.7 " in text or code in (501, 553):
        return 65
    return 69


def by_maildrop(folder: str, envelope: Envelope, message: bytes) -> None:
    """Leave it for the server's next start. Durable when it returns. Raises Refused (75) when the folder does not take it."""
    import json

    fields = {"sender": envelope.sender or None, "recipients": envelope.recipients}
    options = {"notify": envelope.notify, "ret": envelope.ret, "envid": _xtext(envelope.envid)}
    fields |= {name: value for name, value in options.items() if value}
    head = json.dumps(fields).encode() + b"\n"
    name = os.urandom(16).hex()
    path, final = os.path.join(folder, "tmp-" + name), os.path.join(folder, name)
    try:
        if not os.path.isdir(folder):
            _make(folder)
        # readable for the server's account; nobody else can list the folder or guess the name
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            os.fchmod(fd, 0o644)
            _write(fd, head + message)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(path, final)
        _sync_folder(folder)
    except OSError as exc:
        try:
            os.unlink(path)
        except OSError:
            pass
        raise Refused(75, f"the server does not run, and {folder} does not take the message: {exc.strerror}") from exc


def _make(folder: str) -> None:
    os.makedirs(folder, mode=0o711)
    os.chmod(folder, 0o1733)  # noqa: S103  # all may drop, none may list or take


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: str) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # write-only for us, as it should be
        os.sync()
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
