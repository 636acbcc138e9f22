"""What a client sends, as commands: one after the other, or several that can be run together.

FETCH, STORE and APPEND look at what follows them in the pipeline (``Session.ahead``), so these are parsed ahead of time, within
bounds. A request that is not IMAP becomes a command without verb whose value is the answer.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from typing import TYPE_CHECKING

from mta.imapd import answer
from mta.imapd.session import Session
from mta.imapd.verbs import GATHERED
from mta.model.errors import TemporaryFailure
from mta.wire.imap.command import Command, parse
from mta.wire.imap.decoder import BEFORE_LOGIN, Decoder, Event, Overflow, Request, Wanted, tag_of
from mta.wire.imap.mailbox import BadName
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import CHARSETS, UnknownCharset

if TYPE_CHECKING:
    from mta.imapd.server import ImapServer

_COMMANDS_AHEAD = 128
_OCTETS_AHEAD = 2**20
_LONGEST_DONE = 8192


class Incoming:
    """The reading half of one connection."""

    def __init__(self, server: "ImapServer", session: Session) -> None:
        self.decoder = Decoder(BEFORE_LOGIN, server.open_sink)
        self._server = server
        self._session = session
        self._event: Event | None = None

    def next(self) -> Command | Wanted | Overflow | None:
        """The next command to run; None: more octets are needed."""
        session = self._session
        if session.idling:
            return self._line_in_idle()
        if session.ahead:
            return session.ahead.popleft()
        if self._event is None:
            self._look_ahead()
            if session.ahead:
                return session.ahead.popleft()
        event, self._event = self._event, None
        assert not isinstance(event, Request)  # those are in ``ahead``
        return event

    def _line_in_idle(self) -> Command | Overflow | None:
        line = self.decoder.line(_LONGEST_DONE)
        if line is None or isinstance(line, Overflow):
            return line
        self._session.stop_idling()
        verb = "DONE" if line.upper() == b"DONE" else ""
        return Command(self._session.tag, verb, None if verb else answer.bad(b"expected DONE"))

    def _look_ahead(self) -> None:
        """Parse what is here while it can be run together; one command otherwise."""
        ahead = self._session.ahead
        octets = 0
        while len(ahead) < _COMMANDS_AHEAD and octets < _OCTETS_AHEAD:
            event = self.decoder.request()
            if not isinstance(event, Request):
                self._event = event
                return
            command = self._parse(event)
            ahead.append(command)
            if command.verb not in GATHERED or self._server.config.limits.imap_messages:
                return  # it may change how the next is read: ENABLE, STARTTLS, IDLE, AUTHENTICATE
            octets += len(event.text)
            if event.literals:
                octets += sum(len(literal) for literal in event.literals if isinstance(literal, bytes))

    def _parse(self, request: Request) -> Command:
        try:
            if not request.problem:
                return parse(request, utf8=self._session.utf8, others=self._server.may_know)
            refusal = _refusal(request.problem)
        except UnknownCharset:
            refusal = answer.no(b"charset not known", b"BADCHARSET (" + " ".join(CHARSETS).encode("ascii") + b")")
        except BadName as exc:
            refusal = answer.no(str(exc).encode("ascii"), b"CANNOT")
        except Malformed as exc:
            refusal = answer.bad(str(exc).encode("ascii", "replace"))
        except Exception:  # noqa: BLE001  # a bug in a parser; the next command may be none
            self._server.log.error("imap.failed", session=self._session.peer.id, command="parse", exc_info=True)  # noqa: G201
            refusal = answer.Answer(answer.SERVERBUG)
        return Command(tag_of(request.text) or b"*", "", refusal)

    async def make_room(self) -> bool:
        """Write to the disk, off the loop, what came of a large literal. False: there was nothing to do."""
        sink = self.decoder.overfull
        if sink is None:
            return False
        try:
            await asyncio.to_thread(sink.spill)
        except TemporaryFailure as exc:
            peer = self._session.peer
            self._server.log.warning("imap.spool", session=peer.id, user=peer.user, detail=str(exc))
            self.decoder.refuse("no room")
        return True


def _refusal(problem: str) -> answer.Answer:
    if problem == "too big":
        return answer.no(b"literal too large", b"TOOBIG")
    if problem == "limit":
        return answer.no(b"too much in one command", b"LIMIT")
    if problem == "no room":
        return answer.no(b"no room on the server for now", b"OVERQUOTA")
    return answer.bad(b"lines end with CRLF")
