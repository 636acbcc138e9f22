"""NOTIFY (RFC 5465): a client is told of changes in mailboxes that it has not open.

The server knows which sessions watch which mailbox; a change marks it, and the session says what became of it at its next quiet moment:
never amid a command, and as much at once as came together. So a slow client costs a set of numbers. Without a group for the selected
mailbox that one is told about as always, with the commands. Whoever watches more than ``MOST`` mailboxes gets NOTIFICATIONOVERFLOW.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from typing import NamedTuple

from mta.imapd.answer import Answer, no, ok
from mta.imapd.fetch import fetch
from mta.imapd.place import everything, recheck
from mta.imapd.session import Session
from mta.model.errors import MailError, NoSuchMailbox
from mta.model.ids import MailboxId
from mta.model.mailbox import DELIMITER, MailboxInfo, MailboxStatus
from mta.model.rights import ALL
from mta.wire.imap.fetch import Fetch
from mta.wire.imap.mailbox import encode_name
from mta.wire.imap.notify import Group, Notify
from mta.wire.imap.response import list_line, status_response
from mta.wire.imap.sequence import SequenceSet

MOST = 10_000
_KNOWN = (
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
)
_NONE: frozenset[str] = frozenset()
_MESSAGES = frozenset({"MessageNew", "FlagChange"})
_OF_ACCOUNT = frozenset({"SubscriptionChange", "ServerMetadataChange"})


class _Watched(NamedTuple):
    info: MailboxInfo
    events: frozenset[str]


async def notify(session: Session, command: Notify) -> bytes:
    unknown = {event for group in command.groups for event in group.events if event not in _KNOWN}
    if unknown:
        raise no(b"no such event here", b"BADEVENT (%b)" % " ".join(_KNOWN).encode("ascii"))
    if session.watch is not None:
        session.watch.close()
    if command.groups:
        watch = Watch(session, command.groups)
        if not await watch.begin(status=command.status):
            raise no(b"too many mailboxes to watch", b"NOTIFICATIONOVERFLOW")
    return ok(b"so be it")


class Watch:
    """What one session watches. ``due``: there is something to tell; ``stale``: mailboxes may have come or gone."""

    def __init__(self, session: Session, groups: tuple[Group, ...]) -> None:
        self.session = session
        self.server = session.server
        self.pending: set[MailboxId] = set()
        self.stale = False
        self.open_changed = False
        """Since the client was last told about the mailbox that it has open."""
        self._groups = [group for group in groups if not group.kind.startswith("selected")]
        self._account = any(group.events & _OF_ACCOUNT for group in groups)
        """Something is asked for that the store tells as a change of INBOX."""
        chosen = [group for group in groups if group.kind.startswith("selected") and group.events]
        self._selected = chosen[0] if chosen else None
        self._watched: dict[MailboxId, _Watched] = {}
        self._told: dict[MailboxId, MailboxStatus] = {}
        self._notes: dict[MailboxId | None, Mapping[str, bytes]] = {}

    @property
    def due(self) -> bool:
        return bool(self.pending) or self.stale or self.open_changed

    @property
    def pushes(self) -> bool:
        """The open mailbox is told about without being asked."""
        return self._selected is not None

    # ---- life

    async def begin(self, *, status: bool) -> bool:
        """False: too much."""
        self._watched = await self._look()
        if len(self._watched) > MOST:
            return False
        for number, (_, events) in self._watched.items():
            await self.session.out.drain()
            await self._learn(number, events, tell=status)
        if any("ServerMetadataChange" in group.events for group in self._groups):
            self._notes[None] = await self._annotations(None)
        self.session.watch = self
        self.server.watch(self, self._watched)
        self.session.set_push()
        return True

    def close(self) -> None:
        self.server.unwatch(self, self._watched)
        self.session.watch = None
        self.session.set_push()

    async def _look(self) -> dict[MailboxId, _Watched]:
        """All mailboxes about which something is to be told, with the events of the first group that names each (RFC 5465 §6)."""
        mailboxes, rights = await everything(self.session)
        found: dict[MailboxId, _Watched] = {}
        for info in mailboxes:
            if info.exists:
                may = rights.get(info.name, ALL)
                events = self._events(info, own=info.name not in rights)
                if "r" not in may:
                    events -= {"MessageNew", "MessageExpunge", "FlagChange", "MailboxMetadataChange"}
                if events or (info.name == "INBOX" and self._account):
                    found[info.id] = _Watched(info, events)
        return found

    def _events(self, info: MailboxInfo, *, own: bool) -> frozenset[str]:
        for group in self._groups:
            if _is_in(group, info, own=own):
                return group.events
        return _NONE

    async def _learn(self, number: MailboxId, events: frozenset[str], *, tell: bool) -> None:
        """How it stands when watching begins."""
        try:
            found = self._told[number] = await self.server.store.status(number)
        except NoSuchMailbox:
            self.stale = True
            return
        if tell and events & _MESSAGES and not self._is_open(number):
            self._say_status(number, found)
        if "MailboxMetadataChange" in events:
            self._notes[number] = await self._annotations(number)

    def _is_foreign(self, number: MailboxId) -> bool:
        watched = self._watched.get(number)
        return watched is not None and watched.info.user != self.session.account

    def _is_open(self, number: MailboxId) -> bool:
        return self.session.selected is not None and self.session.selected.mailbox == number

    # ---- telling

    async def tell(self) -> None:
        """Say what happened. Called between commands, by the connection."""
        try:
            if self.open_changed:
                self.open_changed = False
                await self._tell_selected()
            pending, self.pending = self.pending, set()
            if any(self._is_foreign(number) for number in pending):
                self.stale = False
                await self._tell_names()  # first whether anything may be told of it any more
            for number in pending:
                await self.session.out.drain()
                await self._tell_one(number)
            if self.stale:
                self.stale = False
                await self._tell_names()
        except (MailError, Answer) as exc:
            if self.session.ending:
                return
            self.server.log.warning("imap.notify", session=self.session.peer.id, user=self.session.peer.user, detail=str(exc))
            self._overflow()
        except ConnectionResetError:
            raise
        except Exception:  # noqa: BLE001  # a bug: the client asks again or not, and goes on
            log = self.server.log.bind(session=self.session.peer.id, user=self.session.peer.user)
            log.error("imap.failed", command="NOTIFY", exc_info=True)  # noqa: G201
            self._overflow()

    def _overflow(self) -> None:
        self.session.out.write(b"* OK [NOTIFICATIONOVERFLOW] ask again what you want to hear\r\n")
        self.close()

    async def _tell_selected(self) -> None:
        """EXISTS and, with items, FETCH of what is new; EXPUNGE at once only for SELECTED (RFC 5465 §6.1, §6.2)."""
        group, selected = self._selected, self.session.selected
        if group is None or selected is None:
            return
        if selected.reader:
            await recheck(self.session, selected)
        before = selected.count
        await self.session.catch_up(expunge=group.kind == "selected")
        if group.items and self.session.selected is selected and selected.count > before and not self.session.ending:
            await fetch(self.session, Fetch(SequenceSet(((before + 1, selected.count),)), group.items))

    async def _tell_one(self, number: MailboxId) -> None:
        watched, before = self._watched.get(number), self._told.get(number)
        if watched is None:
            return
        try:
            found = self._told[number] = await self.server.store.status(number)
        except NoSuchMailbox:
            self.stale = True
            return
        if before is not None and before.highest_modseq == found.highest_modseq:
            self.stale = True  # no message changed: it is about the mailbox itself, or the account
        elif watched.events & _MESSAGES and not self._is_open(number):
            moved = before is None or (before.messages, before.uid_next) != (found.messages, found.uid_next)
            if moved or "FlagChange" in watched.events:
                self._say_status(number, found)

    def _say_status(self, number: MailboxId, found: MailboxStatus) -> None:
        info, events = self._watched[number]
        items = [("MESSAGES", found.messages), ("UIDNEXT", found.uid_next), ("UIDVALIDITY", found.uid_validity)]
        if "FlagChange" in events:
            items.append(("UNSEEN", found.unseen))
        if "FlagChange" in events or self.session.condstore:
            items.append(("HIGHESTMODSEQ", found.highest_modseq))
        self.session.out.write(status_response(info.name, items, utf8=self.session.utf8))

    async def _tell_names(self) -> None:
        """Mailboxes that came, went, have another name, were subscribed, or have other annotations."""
        before, after = self._watched, await self._look()
        self.server.unwatch(self, before)
        self._watched = after
        if len(after) > MOST:
            self._overflow()
            return
        self.server.watch(self, after)
        for number, (info, events) in after.items():
            await self.session.out.drain()
            known = before.get(number)
            if known is None:
                self._say_name(info, events)
                await self._learn(number, events, tell=True)
                continue
            if known.info.name != info.name:
                self._say_name(info, events, known.info.name)
            if known.info.subscribed != info.subscribed and "SubscriptionChange" in events:
                self._say_name(info, frozenset({"MailboxName"}))
            if "MailboxMetadataChange" in events:
                await self._tell_notes(number, info.name)
        for number, (info, events) in before.items():
            if number not in after:
                self._told.pop(number, None)
                self._notes.pop(number, None)
                if "MailboxName" in events:
                    self.session.out.write(list_line([b"\\NonExistent"], info.name, utf8=self.session.utf8))
        if None in self._notes:
            await self._tell_notes(None, "")

    def _say_name(self, info: MailboxInfo, events: frozenset[str], old: str = "") -> None:
        if "MailboxName" in events:
            extended = b' ("OLDNAME" (%b))' % encode_name(old, utf8=self.session.utf8) if old else b""
            attributes = [b"\\Subscribed"] if info.subscribed else []
            self.session.out.write(list_line(attributes, info.name, utf8=self.session.utf8, extended=extended))

    async def _annotations(self, number: MailboxId | None) -> Mapping[str, bytes]:
        annotations = self.server.extras.annotations
        if annotations is None:
            return {}
        private = await annotations.annotations(number, self.session.account)
        shared = await annotations.annotations(number, None)
        return {**{"/private" + k: v for k, v in private.items()}, **{"/shared" + k: v for k, v in shared.items()}}

    async def _tell_notes(self, number: MailboxId | None, name: str) -> None:
        before, after = self._notes.get(number, {}), await self._annotations(number)
        self._notes[number] = after
        if entries := sorted(entry for entry in before.keys() | after.keys() if before.get(entry) != after.get(entry)):
            words = " ".join(entries).encode("latin-1")
            shown = encode_name(name, utf8=self.session.utf8) if name else b'""'
            self.session.out.write(b"* METADATA %b %b\r\n" % (shown, words))


def _is_in(group: Group, info: MailboxInfo, *, own: bool) -> bool:
    name = info.name
    if group.kind == "inboxes":
        return name == "INBOX"
    if group.kind == "personal":
        return own
    if group.kind == "subscribed":
        return info.subscribed
    if group.kind == "subtree":
        return any(name == top or name.startswith(top + DELIMITER) for top in group.names)
    return name in group.names
