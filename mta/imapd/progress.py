"""INPROGRESS (RFC 9585): a client that waits for long work hears how far it is, and that the connection lives."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.session import Session
from mta.wire.imap.response import string

INTERVAL = 10.0
"""Seconds between two notes, and before the first."""


class Progress:
    """For one stretch of work in which no response is half written. ``goal``: how many steps it has."""

    __slots__ = ("_clock", "_goal", "_next", "_session")

    def __init__(self, session: Session, goal: int) -> None:
        self._session = session
        self._goal = goal
        self._clock = session.server.clock
        self._next = self._clock.monotonic() + INTERVAL

    def at(self, done: int) -> None:
        now = self._clock.monotonic()
        if now < self._next or not 0 < done < self._goal:
            return
        self._next = now + INTERVAL
        out = self._session.out
        out.write(b"* OK [INPROGRESS (%b %d %d)] still at work\r\n" % (string(self._session.tag), done, self._goal))
        out.flush()
