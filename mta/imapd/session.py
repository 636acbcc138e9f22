"""What one connection is: who speaks, what was enabled, which mailbox is open. The verbs work on this; octets go by ``out``."""
# SPDX-License-Identifier: Apache-2.0

import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mta.directory.sasl import Door
from mta.imapd.answer import no
from mta.imapd.selected import NEVER, Selected
from mta.model.errors import MailError
from mta.model.ids import BlobId, UserId
from mta.wire.imap.command import Command

if TYPE_CHECKING:
    from mta.imapd.notify import Watch
    from mta.imapd.server import ImapServer


@dataclass(slots=True)
class Peer:
    """The client as hooks see it; fulfils mta_hooks.views.Session."""

    id: str
    client_ip: str = ""
    client_port: int = 0
    local_ip: str = ""
    local_port: int = 0
    tls: bool = False
    protocol: str = "imap"
    helo: str = ""
    user: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


class Out(Protocol):
    """The way to the client; the connection is one."""

    def write(self, octets: bytes) -> None:
        """Queue octets for sending."""
        ...

    def flush(self) -> None:
        """Send what is queued now."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written, and give other sessions their turn.

        Raises ConnectionResetError when the client is gone.
        """
        ...

    async def line(self, longest: int) -> bytes:
        """The next line that the client sends, outside any command."""
        ...

    async def start_tls(self) -> None: ...

    def compress(self) -> None:
        """All that follows is compressed, both ways."""
        ...

    @property
    def compressed(self) -> bool: ...

    @property
    def pipelined(self) -> bool:
        """Octets of the client are here that belong to no command yet."""
        ...

    @property
    def listener_hides(self) -> frozenset[str]:
        """Capabilities that the listener does not show."""
        ...

    @property
    def secured(self) -> ssl.SSLObject | None:
        """The TLS session under way."""
        ...

    def push(self) -> None:
        """Tell a client in IDLE, or by NOTIFY, what changed in the open mailbox."""
        ...

    def notify(self) -> None:
        """``Session.watch`` has something to tell: at the next quiet moment."""
        ...

    def logged_in(self) -> None:
        """Widen the bounds of what the client may send."""
        ...

    def logged_out(self) -> None:
        """Narrow them again."""
        ...


class Session:
    """State of RFC 9051 §3: ``user`` None is not authenticated; ``selected`` is the open mailbox."""

    __slots__ = (
        "ahead", "charset_fixed", "condstore", "failures", "ending", "idling", "octets", "out", "peer", "qresync", "reason", "rev2", "selected", "server", "tag", "uidonly", "user", "utf8", "watch",
    )  # fmt: skip

    def __init__(self, server: "ImapServer", out: Out, peer: Peer) -> None:
        self.server = server
        self.out = out
        self.peer = peer
        self.user: UserId | None = None
        self.selected: Selected | None = None
        self.rev2 = False
        self.utf8 = False
        """Mailbox names are UTF-8 on the wire: after ENABLE of IMAP4rev2 or UTF8=ACCEPT."""
        self.charset_fixed = False
        """After ENABLE UTF8=ACCEPT: SEARCH names no charset (RFC 9755 §3)."""
        self.condstore = False
        self.qresync = False
        self.uidonly = False
        self.idling = False
        self.watch: Watch | None = None
        """What NOTIFY asked for."""
        self.ending = False
        self.reason = ""
        """Why it ends, for ``smtp_disconnect``; "" while it goes on, and when there is nothing better to say than closed or lost."""
        self.failures = 0
        self.tag = b""
        """Tag of the command at work; a verb that answers several moves it on."""
        self.octets: dict[BlobId, bytes] = {}
        """Messages read early for the FETCH commands in ``ahead``; at most as much as one read takes."""
        self.ahead: deque[Command] = deque()
        """Commands that follow, already parsed: FETCH, STORE and APPEND look here for work to do together."""

    def forget(self) -> None:
        """As before login, and before anything was enabled (RFC 8437 §3)."""
        if self.watch is not None:
            self.watch.close()
        self.user, self.peer.user = None, ""
        self.peer.notes.clear()
        self.rev2 = self.utf8 = self.charset_fixed = self.condstore = self.qresync = self.uidonly = False
        self.octets.clear()

    @property
    def secure(self) -> bool:
        """A password may be said: under TLS, or where the config allows it without."""
        return self.peer.tls or self.server.config.auth.plaintext_without_tls

    @property
    def door(self) -> Door:
        """The connection as SASL sees it."""
        return Door(self.peer, self.secure, self.out.secured)

    @property
    def hidden(self) -> frozenset[str]:
        """Capabilities that are not shown to this client, in upper case."""
        return self.server.hidden(self.out.listener_hides, self.peer.user)

    @property
    def account(self) -> UserId:
        assert self.user is not None  # the verb table lets no one else in
        return self.user

    @property
    def mailbox(self) -> Selected:
        assert self.selected is not None  # the verb table lets no one else in
        return self.selected

    def reply(self, octets: bytes) -> None:
        """Write the tagged answer of the command at work."""
        self.out.write(b"%b %b\r\n" % (self.tag, octets))

    def end(self, reason: str) -> None:
        """No further command is run."""
        self.ending = True
        self.reason = self.reason or reason

    def put_back(self, commands: Sequence[Command]) -> None:
        """These were taken from ``ahead`` and are to be run after all."""
        self.ahead.extendleft(reversed(commands))

    def use_condstore(self) -> None:
        """The client showed that it knows mod-sequences (RFC 7162 §3.1): it is told how far the open mailbox is."""
        self.condstore = True
        if self.selected is not None and not self.selected.condstore:
            self.selected.condstore = True
            self.out.write(b"* OK [HIGHESTMODSEQ %d] highest\r\n" % self.selected.view.highest)

    def writable(self, needed: str = "") -> Selected:
        """The open mailbox, for a command that changes it and needs these rights there."""
        selected = self.mailbox
        if selected.read_only:
            raise no(b"mailbox is open read-only", b"READ-ONLY")
        if selected.reader and not all(letter in selected.rights for letter in needed):
            raise no(b"you have not the right to do that here", b"NOPERM")
        return selected

    def leave(self) -> None:
        """No mailbox is open any more. What this session was told of is not recent to the next."""
        selected = self.selected
        if selected is None:
            return
        self.selected = None
        view = selected.view
        if selected.recent_from != NEVER and not selected.read_only and view.claimed < view.uid_next:
            view.claimed = view.uid_next
            self.server.tasks.spawn(self._claim(selected), "imap.recent")
        selected.close()

    async def _claim(self, selected: Selected) -> None:
        try:
            await self.server.store.claim_recent(selected.mailbox)
        except MailError as exc:  # then they are recent once more
            self.server.log.info("imap.recent", session=self.peer.id, detail=str(exc))

    async def catch_up(self, *, expunge: bool) -> None:
        """Write what changed in the open mailbox.

        What the store cannot say now is told with the next look: the command is done, a NO would have its message appended again.
        """
        selected = self.selected
        if selected is None:
            return
        try:
            await self._catch_up(selected, expunge=expunge)
        except MailError as exc:
            self.server.log.warning("imap.wake", session=self.peer.id, mailbox=selected.mailbox, detail=str(exc))

    async def _catch_up(self, selected: Selected, *, expunge: bool) -> None:
        view = selected.view
        if view.stale:
            await view.refresh()
        if view.dead:
            self.out.write(b"* BYE [UNAVAILABLE] the selected mailbox was deleted\r\n")
            self.ending = True
            return
        if selected.behind:
            if selected.contexts is not None and expunge:
                selected.contexts.going(self, selected)
            for octets in selected.catch_up(expunge=expunge):
                self.out.write(octets)
        if selected.contexts is not None:
            await selected.contexts.changed(self, selected)

    def start_idling(self) -> None:
        self.idling = True
        self.set_push()

    def stop_idling(self) -> None:
        self.idling = False
        self.set_push()

    def set_push(self) -> None:
        """Who hears of changes in the open mailbox without a command: clients in IDLE, and who asked for it by NOTIFY."""
        if self.selected is not None:
            self.selected.push = self.out.push if self.idling or (self.watch is not None and self.watch.pushes) else None
