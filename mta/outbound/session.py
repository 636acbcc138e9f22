"""One dialogue with a next hop: greeting, EHLO, STARTTLS, AUTH, then transactions (RFC 5321 §4, RFC 2920, RFC 3207, RFC 4954).

Waits are those of RFC 5321 §4.5.3.2. LMTP (RFC 2033) differs in the first word and in one reply for each recipient behind the
dot. A large message goes as one chunk (RFC 3030) where the hop takes it: nothing is stuffed, and nothing waits for 354. A message with
8-bit octets is put into 7-bit form for a hop without 8BITMIME. BINARYMIME is not said: what came so is in lines since it came
(docs/decisions/binarymime.md).
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from mta.model.delivery import Leased, QueuedMessage
from mta.outbound.answer import Answer
from mta.outbound.envelope import Unsendable, check_time, mail_command, parse_features, rcpt_command, requirements
from mta.outbound.link import Link, LinkLost
from mta.wire.mime.headers import header_end
from mta.wire.mime.sevenbit import NoSevenBitForm, seven_bit
from mta.wire.smtp.data import encode_data

GREETING = 300.0
COMMAND, DATA_BEGIN, DATA_PIECE, DATA_END = 300.0, 120.0, 180.0, 600.0
HANDSHAKE = 30.0
MOST_CONVERTED = 16 * 2**20  # octets: a conversion needs all of them in memory, twice
PIECE = 256 * 1024  # octets of a message in memory at once

Read = Callable[[int, int | None], Awaitable[bytes]]
"""(start, length) -> octets of the message as the next hop gets it, counted from its first octet."""


class Refusal(Exception):
    """The hop answers, but will not work with us: the reply that says so. Not about one message."""

    def __init__(self, answer: Answer | str) -> None:
        super().__init__(str(answer))
        self.permanent = isinstance(answer, Answer) and answer.permanent


class Unfit(Refusal):
    """The hop works, but not for mail that requires TLS (RFC 8689). The text is a reply of ours, with code, for good."""


@dataclass(slots=True)
class Transaction:
    """One message to some recipients of one hop.

    answers  by recipient, in their order: the reply that settles it, None as long as there is none
    ended    the dot was written: what follows a lost connection is unknown, and the message may arrive twice
    """

    message: QueuedMessage
    recipients: Sequence[Leased]
    read: Read
    answers: list[Answer | None] = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.recipients)

    def settle(self, answer: Answer) -> None:
        """For all that have no answer yet."""
        self.answers = [answer if known is None else known for known in self.answers]


class Session:
    """After ``greet`` any number of ``send``. Every method raises LinkLost."""

    def __init__(self, link: Link, hostname: str, *, lmtp: bool = False) -> None:
        self.link = link
        self.features: dict[str, str] = {}
        self.greeting = ""
        self.sent = 0
        self.secure = False
        self.verified = False  # the peer proved that it is the host that was meant
        self._hostname = hostname
        self._lmtp = lmtp
        self._open = False  # a transaction that the hop may still hold
        self._closing = False

    @property
    def usable(self) -> bool:
        return not self._closing and not self.link.lost and self.link.quiet

    @property
    def untimed(self) -> bool:
        """It relays, and knows no time for that (RFC 2852 §4); LMTP delivers."""
        return not self._lmtp and "DELIVERBY" not in self.features

    async def greet(self, timeout: float) -> None:
        """Read the greeting. Raises Refusal."""
        answer = await self.link.answer(timeout)
        if not answer.positive:
            raise Refusal(answer)
        self.greeting = answer.lines[0].partition(" ")[0].lower()

    async def hello(self) -> None:
        """LHLO, or EHLO and HELO where that is not known. Raises Refusal."""
        answer = await self._ask(f"{'LHLO' if self._lmtp else 'EHLO'} {self._hostname}", COMMAND)
        self.features = parse_features(answer.lines) if answer.positive else {}
        if answer.permanent and not self._lmtp:
            answer = await self._ask(f"HELO {self._hostname}", COMMAND)
        if not answer.positive:
            raise Refusal(answer)

    async def start_tls(self, context: ssl.SSLContext, name: str, check: Callable[[Sequence[bytes]], None] | None = None) -> bool:
        """True when TLS is on and EHLO was said anew; False when the hop said no. ``check`` raises when its certificates will not do."""
        answer = await self._ask("STARTTLS", COMMAND)
        if not answer.positive:
            return False
        await self.link.start_tls(context, name, HANDSHAKE)
        if check is not None:
            check(self.link.certificates())
        self.secure = True
        self.features = {}
        await self.hello()
        return True

    async def send(self, transaction: Transaction) -> None:
        """Run one transaction; every recipient has its answer then. Raises LinkLost, and what ``read`` raises, before anything is sent."""
        message, features = transaction.message, self.features
        try:
            utf8, eightbit = requirements(message, transaction.recipients, features)
            if message.deliver_by is not None and not self._lmtp:
                check_time(message, features, time.time())
            if (utf8 or eightbit) and await _check_octets(transaction, utf8=utf8, eightbit=eightbit):
                await _to_seven_bits(transaction)
                message = transaction.message
        except Unsendable as exc:
            code, _, text = str(exc).partition(" ")
            transaction.settle(Answer(int(code), (text,)))
            return
        size = message.size - message.skip
        octets = await transaction.read(0, None) if size <= PIECE else b""
        chunk = size > PIECE and "CHUNKING" in features
        if not await self._envelope(transaction, chunk=chunk):
            return
        if size <= PIECE:
            transaction.ended = True
            self.link.write(encode_data(octets))
        elif not await self._stream(transaction, size, chunk=chunk):
            return
        await self._end(transaction)

    async def _stream(self, transaction: Transaction, size: int, *, chunk: bool) -> bool:
        """False when the hop refused before the end, and hung up: "552 too big"."""
        written = 0
        try:
            if chunk:
                self.link.write(b"BDAT %d LAST\r\n" % size)
            async for piece in _whole(transaction, size) if chunk else _stuffed(transaction, size):
                self.link.write(piece)
                written += len(piece)
                transaction.ended = chunk and written == size  # its last octet is its dot: the hop may have it all, and say so
                await self.link.drain(DATA_PIECE)
        except LinkLost:
            if self.link.quiet:
                raise
            self._closing = True
            if transaction.ended:
                return True
            transaction.settle(_refused(await self.link.answer(0)))
            return False
        transaction.ended = True
        if not chunk:
            self.link.write(b".\r\n")
        return True

    def close(self) -> None:
        """QUIT without waiting for the answer: RFC 5321 §4.1.1.10 asks for it, and nothing depends on it."""
        self.link.close(b"QUIT\r\n")

    # ---- steps of a transaction

    async def _envelope(self, transaction: Transaction, *, chunk: bool) -> bool:
        """True when the hop waits for the message, for at least one recipient. ``chunk``: as BDAT, so DATA is not said."""
        commands = ["RSET"] if self._open else []
        commands.append(mail_command(transaction.message, transaction.recipients, self.features, time.time()))
        commands += [rcpt_command(one, self.features) for one in transaction.recipients]
        if not chunk:
            commands.append("DATA")
        pipelining = "PIPELINING" in self.features
        if pipelining:
            self.link.write(("\r\n".join(commands) + "\r\n").encode("utf-8", "surrogateescape"))
        follow = iter(commands)

        async def next_answer(timeout: float = COMMAND) -> Answer:
            if not pipelining:
                self.link.write((next(follow) + "\r\n").encode("utf-8", "surrogateescape"))
            return self._noted(await self.link.answer(timeout))

        if self._open:
            await next_answer()
        mail = await next_answer()
        self._open = True
        if self._closing or not (mail.positive or pipelining):
            self._open = False
            transaction.settle(_refused(mail))
            return False
        accepted = 0
        for place in range(len(transaction.recipients)):
            answer = await next_answer()
            if self._closing:
                transaction.settle(answer)
                return False
            if not mail.positive:
                transaction.answers[place] = _refused(mail)
            elif answer.positive:
                accepted += 1
            else:
                transaction.answers[place] = _refused(_too_many_is_temporary(answer))
        if chunk or not (accepted or pipelining):
            return bool(accepted)
        return await self._invited(transaction, await next_answer(DATA_BEGIN), accepted)

    async def _invited(self, transaction: Transaction, data: Answer, accepted: int) -> bool:
        """What the answer to DATA means."""
        if data.code == 354 and accepted:
            return True
        if data.code == 354:  # it takes a message for nobody: give it none (RFC 2920 §3.1)
            self.link.write(b".\r\n")
            self._noted(await self.link.answer(DATA_END))
        elif data.positive:
            self._closing = True  # the peer has lost its place
            data = Answer(451, ("4.5.0 protocol error: DATA answered with success",))
        transaction.settle(_refused(data))
        return False

    async def _end(self, transaction: Transaction) -> None:
        """Read what became of the message: once, or for each accepted recipient (RFC 2033 §4.2)."""
        self._open = False
        self.sent += 1
        if not self._lmtp:
            answer = self._noted(await self.link.answer(DATA_END))
            transaction.settle(answer if answer.positive else _refused(answer))
            return
        for place, known in enumerate(transaction.answers):
            if known is None:
                answer = self._noted(await self.link.answer(DATA_END))
                transaction.answers[place] = answer if answer.positive else _refused(answer)

    async def ask(self, command: str) -> Answer:
        return await self._ask(command, COMMAND)

    async def _ask(self, command: str, timeout: float) -> Answer:
        self.link.write(command.encode() + b"\r\n")
        return self._noted(await self.link.answer(timeout))

    def _noted(self, answer: Answer) -> Answer:
        if answer.code == 421:  # RFC 5321 §3.8: it closes, whatever we say
            self._closing = True
        return answer


async def _check_octets(transaction: Transaction, *, utf8: bool, eightbit: bool) -> bool:
    """The sender announced more than the hop offers; many announce what their message does not need.

    True: it has octets that the hop cannot take as they are. Raises Unsendable for a header that needs SMTPUTF8.
    """
    size, found = transaction.message.size - transaction.message.skip, False
    for start in range(0, size, PIECE):
        piece = await transaction.read(start, PIECE)
        if piece.isascii():
            continue
        if start == 0 and (utf8 or eightbit) and not piece[: header_end(piece)].isascii():
            raise Unsendable("554 5.6.7 the next hop does not take internationalised header fields")
        found = True
    return found and eightbit


async def _to_seven_bits(transaction: Transaction) -> None:
    """Put what is sent into 7-bit form; what is stored stays. Raises Unsendable (RFC 3463 §3.7: X.6.3)."""
    message = transaction.message
    if message.size - message.skip > MOST_CONVERTED:
        raise Unsendable("554 5.6.3 the next hop takes no 8-bit message, and this one is too large to be converted")
    try:
        octets = await asyncio.to_thread(seven_bit, await transaction.read(0, None))
    except NoSevenBitForm as exc:
        raise Unsendable(f"554 5.6.3 the next hop takes no 8-bit message, and this one cannot be converted: {exc}") from exc

    async def read(start: int, length: int | None) -> bytes:
        return octets[start : None if length is None else start + length]

    transaction.message = replace(message, size=message.skip + len(octets), eightbit=False)
    transaction.read = read


async def _whole(transaction: Transaction, size: int) -> AsyncIterator[bytes]:
    """The message in pieces, as it is; exactly the octets that were announced."""
    for start in range(0, size, PIECE):
        piece = await transaction.read(start, min(PIECE, size - start))
        if len(piece) != min(PIECE, size - start):
            raise LinkLost("message ended before its size")
        yield piece


async def _stuffed(transaction: Transaction, size: int) -> AsyncIterator[bytes]:
    """The message in pieces with dots doubled (RFC 5321 §4.5.2), ended by CRLF; the two octets before a piece decide about its first."""
    before = b"\r\n"
    for start in range(0, size, PIECE):
        piece = await transaction.read(start, min(PIECE, size - start))
        if not piece:
            raise LinkLost("message ended before its size")  # the hop must not take half a message for whole
        joined = before + piece
        before = joined[-2:]
        yield joined.replace(b"\r\n.", b"\r\n..")[2:]
    if before != b"\r\n":
        yield b"\r\n"


def _refused(answer: Answer) -> Answer:
    """A reply that refuses; what is neither 4xx nor 5xx there is a mistake of the peer, and may be better next time."""
    return answer if answer.code >= 400 else Answer(451, (f"4.5.0 protocol error: {answer}",))


def _too_many_is_temporary(answer: Answer) -> Answer:
    """RFC 5321 §4.5.3.1.10: 552 to RCPT means 452, unless its enhanced code says that it means something else."""
    if answer.code != 552 or answer.enhanced not in ("", "5.5.3"):
        return answer
    return Answer(452, tuple(line.replace("5.5.3", "4.5.3", 1) for line in answer.lines))
