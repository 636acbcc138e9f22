"""An SMTP or LMTP server on loopback that does as it is told, for tests of what sends mail.

    sink = Sink()
    sink.answer("RCPT", "450 4.2.1 greylisted", times=1)       # one refusal, then as usual
    sink.drop("MAIL")                                          # hang up there, every time
    async with sink:                                           # or "with sink.thread():"
        … deliver to 127.0.0.1:sink.port …
    [received] = sink.messages

Stages are CONNECT, EHLO, HELO, LHLO, STARTTLS, TLS, AUTH, MAIL, RCPT, DATA, DOT, RSET, QUIT. An answer may be tied to an
address by ``match``, a part of the command line. Everything it heard is in ``commands``, by connection.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal[
    "CONNECT", "EHLO", "HELO", "LHLO", "STARTTLS", "TLS", "AUTH", "SCRAM", "MAIL", "RCPT", "DATA", "BDAT", "DOT", "RSET", "QUIT"
]
KEYWORDS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")


@dataclass(slots=True)
class Received:
    """``mail`` and ``rcpts`` are the command lines; ``octets`` is the message with dots undone."""

    mail: str
    rcpts: list[str]
    octets: bytes
    secure: bool
    user: str
    connection: int


@dataclass(slots=True, eq=False)
class Ending:
    """What happened behind the end of one message, as far as this side of the connection can know.

    rcpts    the commands of those who were accepted
    at       monotonic: when its last octet, the dot, was here
    reply    what was written then; None: nothing
    written  monotonic: when the system had taken all of the reply; 0.0: it did not
    then     how the other side went on: "next", it sent something more; "closed", it hung up and left nothing unread; "reset", it hung up
             over what it had not read (Linux closes a socket so, whoever closes it); "": this side hung up
    """

    mail: str
    octets: bytes
    at: float
    connection: int
    reply: str | None = None
    written: float = 0.0
    then: Literal["", "next", "closed", "reset"] = ""
    rcpts: Sequence[str] = ()

    @property
    def taken(self) -> bool:
        """The message is here, for all that its sender may know."""
        return self.reply is None or self.reply.startswith("2")

    @property
    def read(self) -> bool:
        """The other side's program has the reply."""
        return bool(self.written) and self.then in ("next", "closed")


@dataclass(slots=True)
class Rule:
    stage: Stage
    reply: str | None
    times: int
    match: str
    delay: float


@dataclass
class Sink:
    """``tls``: a server context; STARTTLS is offered then, or spoken from the first octet when ``implicit``."""

    keywords: tuple[str, ...] = KEYWORDS
    hostname: str = "sink.test"
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    lmtp: bool = False
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    users: dict[str, str] = field(default_factory=dict)
    mechanisms: str = "PLAIN LOGIN"
    most_rcpts: int = 1000
    keep: bool = True
    messages: list[Received] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    count: int = 0
    open: int = 0
    most_open: int = 0
    rules: list[Rule] = field(default_factory=list)
    _server: asyncio.Server | None = None

    # ---- script

    def answer(self, stage: Stage, reply: str, *, times: int = 1_000_000, match: str = "", delay: float = 0.0) -> None:
        """Say ``reply`` (without CRLF, "" for the usual one) after ``delay`` seconds, for so many times."""
        self.rules.append(Rule(stage, reply, times, match, delay))

    def drop(self, stage: Stage, *, times: int = 1_000_000, match: str = "") -> None:
        """Hang up instead of an answer."""
        self.rules.append(Rule(stage, None, times, match, 0.0))

    def rule(self, stage: Stage, line: str) -> Rule | None:
        for rule in self.rules:
            if rule.stage == stage and rule.times > 0 and rule.match in line:
                rule.times -= 1
                return rule
        return None

    def loses(self, mail: str, rcpts: Sequence[str], octets: bytes) -> bool:
        """Hang up instead of answering the end of this message? It was taken, for all that its sender knows."""
        return False

    def ends(self, ending: Ending) -> None:
        """The whole message is here; the rest of ``ending`` will be known later."""

    # ---- life

    async def __aenter__(self) -> "Sink":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "asyncio.Task[None]":
            return asyncio.get_running_loop().create_task(_Dialogue(self, reader, writer).run())

        context = self.tls if self.implicit else None
        if self.path:
            self._server = await asyncio.start_unix_server(serve, self.path, limit=2**24)
        else:
            self._server = await asyncio.start_server(serve, self.host, self.port, ssl=context, limit=2**24)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    @contextmanager
    def thread(self) -> Iterator["Sink"]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="sink", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result(5)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.stop(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)


class _HungUp(Exception):
    pass


class _Dialogue:
    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sink, self.reader, self.writer = sink, reader, writer
        self.number = len(sink.commands)
        self.heard: list[str] = []
        sink.commands.append(self.heard)
        self.secure = sink.implicit
        self.user = ""
        self.mail = ""
        self.rcpts: list[str] = []
        self.chunks: list[bytes] = []
        self.ending: Ending | None = None

    async def run(self) -> None:
        sink = self.sink
        sink.open += 1
        sink.most_open = max(sink.most_open, sink.open)
        try:
            await self.say("CONNECT", "", f"220 {sink.hostname} ready")
            while line := await self.line():
                await self.command(line)
            self.went_on("closed")
        except _HungUp:
            pass
        except asyncio.IncompleteReadError:
            self.went_on("closed")
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.went_on("reset")
        finally:
            sink.open -= 1
            self.writer.close()

    async def line(self) -> str:
        octets = await self.reader.readline()
        line = octets.decode("utf-8", "replace").removesuffix("\r\n")
        if line:
            self.went_on("next")
            self.heard.append(line)
        return line

    def went_on(self, how: Literal["next", "closed", "reset"]) -> None:
        if (ending := self.ending) is None:
            return
        self.ending = None
        sock = self.writer.get_extra_info("socket")
        if how == "closed" and (sock.fileno() < 0 or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            how = "reset"  # it hung up before the reply reached it
        ending.then = how

    async def say(self, stage: Stage, line: str, usual: str) -> str:
        rule = self.sink.rule(stage, line)
        reply = usual
        if rule is not None:
            if rule.delay:
                await asyncio.sleep(rule.delay)
            if rule.reply is None:
                raise _HungUp
            reply = rule.reply or usual
        self.writer.write(reply.encode() + b"\r\n")
        if stage == "DOT" and self.ending is not None:
            self.ending.reply = reply
            if not self.writer.is_closing() and not self.writer.transport.get_write_buffer_size():
                self.ending.written = time.monotonic()
        await self.writer.drain()
        if reply.startswith("421"):
            raise _HungUp
        return reply

    async def command(self, line: str) -> None:
        verb = line.partition(" ")[0].upper()
        if verb in ("EHLO", "HELO", "LHLO"):
            await self.hello(verb, line)
        elif verb == "STARTTLS" and self.sink.tls is not None and not self.secure:
            await self.start_tls(line)
        elif verb == "AUTH":
            await self.auth(line)
        elif verb == "MAIL":
            if (await self.say("MAIL", line, "250 2.1.0 ok" if not self.mail else "503 5.5.1 nested MAIL")).startswith("2"):
                self.mail, self.rcpts = line, []
        elif verb == "RCPT":
            usual = "250 2.1.5 ok" if self.mail else "503 5.5.1 MAIL first"
            usual = "452 4.5.3 too many recipients" if len(self.rcpts) >= self.sink.most_rcpts else usual
            if (await self.say("RCPT", line, usual)).startswith("2"):
                self.rcpts.append(line)
        elif verb == "DATA":
            await self.data(line)
        elif verb == "BDAT":
            await self.chunk(line)
        elif verb == "RSET":
            self.mail, self.rcpts = "", []
            await self.say("RSET", line, "250 2.0.0 ok")
        elif verb == "QUIT":
            await self.say("QUIT", line, "221 2.0.0 bye")
            raise _HungUp
        else:
            self.writer.write(b"500 5.5.2 what?\r\n")

    async def hello(self, verb: str, line: str) -> None:
        keywords = list(self.sink.keywords) if verb != "HELO" else []
        if self.sink.tls is not None and not self.secure and verb != "HELO":
            keywords.append("STARTTLS")
        if self.sink.users and verb != "HELO":
            keywords.append(f"AUTH {self.sink.mechanisms}")
        lines = [self.sink.hostname, *keywords]
        usual = "\r\n".join(f"250{'-' if n < len(lines) - 1 else ' '}{text}" for n, text in enumerate(lines))
        stage: Stage = "EHLO" if verb == "EHLO" else "HELO" if verb == "HELO" else "LHLO"
        if verb == "LHLO" and not self.sink.lmtp:
            usual = "500 5.5.2 this is SMTP"
        await self.say(stage, line, usual)
        self.mail = ""

    async def start_tls(self, line: str) -> None:
        if not (await self.say("STARTTLS", line, "220 2.0.0 go")).startswith("2"):
            return
        if self.sink.rule("TLS", line) is not None:  # break the handshake
            self.writer.write(b"\x15\x03\x01\x00\x02\x02\x28")
            raise _HungUp
        assert self.sink.tls is not None
        await self.writer.start_tls(self.sink.tls)
        self.secure = True

    async def auth(self, line: str) -> None:
        words = line.split()
        if words[1].upper() == "PLAIN":
            _, name, password = base64.b64decode(words[2]).decode().split("\0")
        elif words[1].upper() == "SCRAM-SHA-256":
            await self.scram(line, base64.b64decode(words[2]))
            return
        elif words[1].upper() in ("XOAUTH2", "OAUTHBEARER"):
            given = base64.b64decode(words[2]).decode()
            name = re.split("[=,\x01]", given.removeprefix("n,a=").removeprefix("user="))[0]
            password = given.partition("auth=Bearer ")[2].partition("\x01")[0]
            if self.sink.users.get(name) != password:
                self.writer.write(b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n")
                await self.line()
        else:
            self.writer.write(b"334 VXNlcm5hbWU6\r\n")
            name = base64.b64decode(await self.line()).decode()
            self.writer.write(b"334 UGFzc3dvcmQ6\r\n")
            password = base64.b64decode(await self.line()).decode()
        good = self.sink.users.get(name) == password
        if (await self.say("AUTH", line, "235 2.7.0 ok" if good else "535 5.7.8 wrong")).startswith("235"):
            self.user = name

    async def scram(self, line: str, first: bytes) -> None:
        """The server's side by the server's own code, as a peer would have it."""
        from mta.wire.sasl.scram import derive_keys, read_client_first, server_first, verify

        begun = read_client_first(first)
        keys = derive_keys(self.sink.users.get(begun.username, "?"), "sha256", b"0123456789abcdef", 4096)
        ours = server_first(begun, b"server-nonce", keys.salt, keys.iterations)
        self.writer.write(b"334 " + base64.b64encode(ours.octets) + b"\r\n")
        final = verify(begun, ours, keys, base64.b64decode(await self.line()), b"")
        if final is None:
            await self.say("AUTH", line, "535 5.7.8 wrong")
            return
        if self.sink.rule("SCRAM", line) is not None:
            final = b"v=" + base64.b64encode(bytes(32))
        self.writer.write(b"334 " + base64.b64encode(final) + b"\r\n")
        await self.reader.readline()
        if (await self.say("AUTH", line, "235 2.7.0 ok")).startswith("235"):
            self.user = begun.username

    async def chunk(self, line: str) -> None:
        """RFC 3030; answers are those of stage BDAT, of the last chunk those of DOT."""
        words = line.split()
        octets = await self.reader.readexactly(int(words[1]))
        self.chunks.append(octets)
        if words[-1].upper() != "LAST":
            await self.say("BDAT", line, "250 2.0.0 more")
            return
        message, self.chunks = b"".join(self.chunks), []
        await self.taken(message)

    async def data(self, line: str) -> None:
        usual = "354 go on" if self.mail and self.rcpts else "554 5.5.1 no valid recipients"
        if not (await self.say("DATA", line, usual)).startswith("354"):
            return
        lines = []
        while (octets := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(octets[1:] if octets.startswith(b".") else octets)
        await self.taken(b"".join(lines))

    async def taken(self, message: bytes) -> None:
        self.ending = Ending(self.mail, message, time.monotonic(), self.number, rcpts=tuple(self.rcpts))
        self.sink.ends(self.ending)
        if self.sink.loses(self.mail, self.rcpts, message):
            raise _HungUp
        asked = self.rcpts if self.sink.lmtp else [" ".join(self.rcpts)]
        accepted = [rcpt for rcpt in asked if (await self.say("DOT", rcpt, "250 2.0.0 taken")).startswith("2")]
        if accepted and self.rcpts:
            self.sink.count += 1
            if self.sink.keep:
                rcpts = accepted if self.sink.lmtp else self.rcpts
                self.sink.messages.append(Received(self.mail, list(rcpts), message, self.secure, self.user, self.number))
        self.mail, self.rcpts = "", []
