"""The end of a chunk (RFC 3030): whoever has its last octet may have taken the message."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import deque
from typing import Any, cast

import pytest

from mta.model.address import Address
from mta.model.delivery import Leased, QueuedMessage
from mta.model.ids import BlobId, QueueId
from mta.outbound.answer import Answer
from mta.outbound.link import Link, LinkLost
from mta.outbound.session import PIECE, Session, Transaction

OCTETS = b"Subject: big\r\n\r\n" + b"x" * 2 * PIECE


class HangingUp:
    """A hop that answers the envelope, then hangs up when it has so many octets of the chunk, with or without a last word."""

    lost = ""

    def __init__(self, after: int, last: Answer | None) -> None:
        self._after, self._last = after, last
        self.answers = deque([Answer(250, ("2.1.0 ok",)), Answer(250, ("2.1.5 ok",))])
        self.octets = 0

    @property
    def quiet(self) -> bool:
        return not self.answers

    def write(self, octets: bytes) -> None:
        self.octets += 0 if octets[:4] in (b"MAIL", b"BDAT") else len(octets)

    async def drain(self, timeout: float) -> None:
        if self.octets >= self._after:
            if self._last is not None:
                self.answers.append(self._last)
            self.lost = "hung up"
            raise LinkLost(self.lost)

    async def answer(self, timeout: float) -> Answer:
        if not self.answers:
            raise LinkLost(self.lost)
        return self.answers.popleft()


def send(after: int, last: Answer | None) -> Transaction:
    message = QueuedMessage(QueueId("q"), "smtp", None, BlobId(1), len(OCTETS), 0, 0.0, None, None, False, False, "", "")
    row = Leased(1, message, Address("x", "dest.test"), "remote", "dest.test", None, None, frozenset(), 0, 0.0, "", False)

    async def read(start: int, length: int | None) -> bytes:
        return OCTETS[start:] if length is None else OCTETS[start : start + length]

    transaction = Transaction(message, [row], read)
    session = Session(cast(Link, cast(Any, HangingUp(after, last))), "mx.test")
    session.features = {"CHUNKING": "", "PIPELINING": ""}
    try:
        asyncio.run(session.send(transaction))
    except LinkLost:
        assert last is None
    return transaction


def test_an_answer_to_the_whole_chunk_counts_though_the_hop_hung_up() -> None:
    assert send(len(OCTETS), Answer(250, ("2.0.0 taken",))).answers == [Answer(250, ("2.0.0 taken",))]


def test_what_became_of_a_whole_chunk_is_not_known_without_an_answer() -> None:
    assert send(len(OCTETS), None).ended


@pytest.mark.parametrize("last", [Answer(552, ("5.3.4 too big",)), None])
def test_half_a_chunk_was_not_taken(last: Answer | None) -> None:
    transaction = send(1, last)
    assert not transaction.ended
    assert transaction.answers == [last]


def test_a_yes_to_half_a_chunk_is_a_mistake() -> None:
    [answer] = send(1, Answer(250, ("2.0.0 taken",))).answers
    assert answer is not None
    assert answer.code == 451
