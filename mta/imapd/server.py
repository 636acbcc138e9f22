"""The IMAP server of one worker: its connections, its views, its clockwork."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from mta.config.sections import Config
from mta.directory.login import Login
from mta.directory.sasl import Sasl
from mta.imapd.columns import Columns
from mta.imapd.connection import Connection
from mta.imapd.rights import still_open
from mta.imapd.view import View
from mta.model.errors import MailError, NoSuchMailbox
from mta.model.ids import BlobId, MailboxId
from mta.model.mailbox import MailboxInfo, MailboxStatus
from mta.model.message import Content
from mta.net.listener import ListenerSpec
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import CONNECTIONS
from mta.pipeline.binary import Liner
from mta.pipeline.reading import Readings
from mta.pluginhost.offers import Offering
from mta.spool.content import SpooledContent
from mta.wire.imap.decoder import SMALL, Bounds, Sink
from mta.wire.imap.sort_keys import SortKeys
from mta_hooks.backends import Extras, Flagging, MailStore, extras_of
from mta_hooks.backends.numbering import Numbering
from mta_hooks.backends.replacing import Replacing
from mta_hooks.backends.save_dates import SaveDates
from mta_hooks.backends.search import Search
from mta_hooks.services import Clock

if TYPE_CHECKING:
    from mta.imapd.notify import Watch

_NONE: frozenset[str] = frozenset()
_TICK = 5.0
_POLL = 15.0
"""Seconds after which a view with idle clients is looked at even when nobody said that it changed."""
_UNUSED = 300.0
_UNUSED_ROWS = 1_000_000
_STATUSES = 10_000
"""Mailboxes whose counts are kept: about 4 MiB."""


class Hooks(Protocol):
    @property
    def smtp_connect(self) -> Any | None: ...
    @property
    def smtp_disconnect(self) -> Any | None: ...
    @property
    def message_read(self) -> Any | None: ...
    @property
    def mailbox_event(self) -> Any | None: ...
    @property
    def occurrences(self) -> Any: ...
    @property
    def mailbox_append(self) -> Any | None: ...
    @property
    def mailbox_store(self) -> Any | None: ...
    @property
    def mailbox_expunge(self) -> Any | None: ...
    @property
    def imap_command(self) -> Any | None: ...
    @property
    def offering(self) -> Offering: ...


class _LiteralFile:
    """Spooled content as the decoder wants it."""

    def __init__(self, content: SpooledContent) -> None:
        self._content = content
        self.write = content.write
        self.spill = content.spill

    @property
    def full(self) -> bool:
        return self._content.full

    def finish(self) -> Content:
        self._content.finish()
        return self._content


class ImapServer:
    """Made once for each worker; ``factory`` gives the protocol for each listener."""

    def __init__(
        self,
        *,
        config: Config,
        hooks: Hooks,
        login: Login,
        store: MailStore,
        clock: Clock,
        log: Log,
        tls: ssl.SSLContext | None,
        tasks: Tasks,
        search: Search | None = None,
    ) -> None:
        self.config = config
        self.hooks = hooks
        self.login = login
        self.sasl = Sasl("imap", hooks, login, config.auth)
        self._hidden = frozenset(word.upper() for word in config.imap.hide)
        self._hidden_from = {user.lower(): frozenset(w.upper() for w in words) for user, words in config.imap.hide_from.items()}
        self.shared_accounts = frozenset(address.lower() for address in config.imap.shared)
        self._hides = bool(self._hidden or self._hidden_from)
        self.store = store
        self.readings = Readings(hooks, lambda: self.store)
        self.search = search
        self.sort_keys: tuple[MailboxId, dict[int, SortKeys]] = (MailboxId(0), {})
        """Of the mailbox that was sorted last; replaced, never changed."""
        self.threads: tuple[tuple[Columns, int, str, bool] | None, bytes] = (None, b"")
        """The last answer to THREAD … ALL, which holds as long as the same messages are there: columns, how many, algorithm, by uid."""
        self.clock = clock
        self.log = log
        self.tls = tls
        self.tasks = tasks
        self.draining = False
        self._offer: bytes | None = None
        limits = config.limits
        self.bounds = Bounds(message=limits.message_size, memory=limits.memory_per_message, total=4 * limits.message_size)
        self._remembering: asyncio.Task[None] | None = None
        self.liner = Liner(limits.memory_per_message, os.path.join(config.data_dir, "tmp"))
        self._connections: set[Connection] = set()
        self._views: dict[MailboxId, View] = {}
        self._statuses: dict[MailboxId, MailboxStatus] = {}
        self._waking: set[MailboxId] = set()
        self._watches: dict[Watch, None] = {}
        self._watching: dict[MailboxId, dict[Watch, None]] = {}
        self._newest = MailboxId(0)
        self._timer: asyncio.TimerHandle | None = None
        self._polled = 0.0

    # ---- connections

    def hidden(self, by_listener: frozenset[str], user: str) -> frozenset[str]:
        """Capabilities that a client is not shown. ``user`` "" before login."""
        return by_listener | self._hidden | self._hidden_from.get(user.lower(), _NONE) if self._hides or by_listener else _NONE

    @property
    def stable_ids(self) -> bool:
        """The store keeps ids of blobs and mailboxes in COPY, MOVE and RENAME (RFC 8474)."""
        return bool(getattr(self.store, "stable_ids", False))

    @property
    def replacing(self) -> Replacing | None:
        return cast(Replacing, self.store) if hasattr(self.store, "replace") else None

    @property
    def prompt(self) -> bool:
        """The store's calls may begin outside of a task: commands are run where they arrive."""
        return bool(getattr(self.store, "prompt", False))

    @property
    def flagging(self) -> Flagging | None:
        return cast(Flagging, self.store) if hasattr(self.store, "regroup") else None

    @property
    def numbering(self) -> Numbering | None:
        return cast(Numbering, self.store) if hasattr(self.store, "numbers") else None

    @property
    def save_dates(self) -> SaveDates | None:
        return getattr(self.store, "save_dates", None)

    @property
    def extras(self) -> Extras:
        """What the store has beyond mailboxes and messages."""
        return extras_of(self.store)

    def offer(self, make: "Callable[[ImapServer], bytes]") -> bytes:
        """The capabilities after login, made once: they depend on nothing that changes while the server runs."""
        if self._offer is None:
            self._offer = make(self)
        return self._offer

    def may_know(self, verb: str) -> bool:
        """A verb that is not IMAP's: does a plugin know it?"""
        return self.hooks.imap_command is not None or ("imap", verb) in self.hooks.offering.commands

    def factory(self, listener: ListenerSpec) -> Callable[[], asyncio.Protocol]:
        return lambda: Connection(self, listener)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def join(self, connection: Connection) -> bool:
        """A connection was made. False: there is no room for it."""
        if self.draining or len(self._connections) >= self.config.limits.connections:
            return False
        self._connections.add(connection)
        CONNECTIONS["imap"].value += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)
        return True

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def open_sink(self, size: int) -> Sink:
        """A place for a literal too large for memory."""
        return _LiteralFile(SpooledContent(SMALL, os.path.join(self.config.data_dir, "tmp")))

    async def drain(self, grace: float) -> None:
        """Take no more commands; let those at work finish for ``grace`` seconds; then cut off."""
        self.draining = True
        for connection in list(self._connections):
            connection.dismiss()
        until = self.clock.monotonic() + grace
        while self._connections and self.clock.monotonic() < until:
            await self.clock.sleep(0.05)
        for connection in list(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- views

    async def view(self, mailbox: MailboxId, highest: int = 0) -> View:
        """The view of this mailbox, current as of now. Raises NoSuchMailbox and the store's failures.

        ``highest``: a look at the store has just found this mod-sequence; a view that is as far need not ask again.
        """
        view = self._views.get(mailbox)
        if view is not None:
            view.unused_since = self.clock.monotonic()
            if not highest or view.highest < highest or view.stale:
                await view.refresh(force=True)
            if not view.dead:
                return view
            self._views.pop(mailbox, None)
            raise NoSuchMailbox(str(mailbox))
        status = await self.store.status(mailbox)
        view = self._views.get(mailbox)
        if view is None:
            view = self._views[mailbox] = View(self.store, mailbox, status)
            view.unused_since = self.clock.monotonic()
        else:
            await view.refresh(force=True)
        return view

    async def status(self, info: MailboxInfo, *, recent: bool) -> MailboxStatus:
        """The counts; those found last time while the look that found ``info`` saw no later mod-sequence. ``recent`` changes without one."""
        known = self._statuses.get(info.id)
        if known is None or recent or not info.highest_modseq or known.highest_modseq != info.highest_modseq:
            known = await self.store.status(info.id)
            if len(self._statuses) >= _STATUSES:
                self._statuses.clear()
            self._statuses[info.id] = known
        return known

    async def remember(self, made: Mapping[BlobId, bytes]) -> None:
        """Have parsed messages kept; nobody waits for that, but for the write before it: one at a time bounds what is held."""
        while self._remembering is not None and not self._remembering.done():
            await asyncio.wait([self._remembering])
        self._remembering = self.tasks.spawn(self._remember(made), "imap.remember")

    async def _remember(self, made: Mapping[BlobId, bytes]) -> None:
        try:
            await self.store.remember_parsed(made)
        except MailError as exc:  # they are parsed once more
            self.log.info("imap.remember", detail=str(exc))

    def told(self, mailbox: MailboxId) -> int:
        """Messages below this uid were told to a session here, so they are recent to nobody else."""
        view = self._views.get(mailbox)
        return 0 if view is None else view.told

    def touched(self, mailbox: MailboxId) -> None:
        """A command of ours changed this mailbox: whoever has it open looks before its next answer."""
        if (view := self._views.get(mailbox)) is not None:
            view.dirty = True

    def watch(self, watch: "Watch", mailboxes: Iterable[MailboxId]) -> None:
        """Mark these in ``watch`` when they change."""
        self._watches[watch] = None
        for mailbox in mailboxes:
            self._watching.setdefault(mailbox, {})[watch] = None
            self._newest = max(self._newest, mailbox)

    def unwatch(self, watch: "Watch", mailboxes: Iterable[MailboxId]) -> None:
        self._watches.pop(watch, None)
        for mailbox in mailboxes:
            if (watches := self._watching.get(mailbox)) is not None:
                watches.pop(watch, None)
                if not watches:
                    del self._watching[mailbox]

    def _notice(self, mailboxes: Sequence[MailboxId]) -> None:
        """Mark what changed for those who watch; one that nobody saw before may be new (ids ascend)."""
        woken: dict[Watch, None] = {}
        for mailbox in mailboxes:
            for watch in self._watching.get(mailbox, ()):
                watch.pending.add(mailbox)
                woken[watch] = None
            if mailbox > self._newest:
                self._newest = mailbox
                for watch in self._watches:
                    watch.stale = True
                woken.update(self._watches)
        for watch in woken:
            watch.session.out.notify()

    def changed(self, mailboxes: Sequence[MailboxId]) -> None:
        """Somebody, here or elsewhere, changed these mailboxes. Called in the loop; wakes IDLE."""
        if self._watches:
            self._notice(mailboxes)
        self._stir(mailboxes)

    def _stir(self, mailboxes: Sequence[MailboxId]) -> None:
        for mailbox in mailboxes:
            view = self._views.get(mailbox)
            if view is None:
                continue
            view.dirty = True
            if mailbox not in self._waking and view.sessions:
                self._waking.add(mailbox)
                self.tasks.spawn(self._wake(view), "imap.wake")

    async def _wake(self, view: View) -> None:
        self._waking.discard(view.mailbox)  # a change from here on wakes again
        if not any(selected.push for selected in view.sessions):
            return  # the others look when they have something to answer
        try:
            await view.refresh()
        except MailError as exc:
            self.log.warning("imap.wake", mailbox=view.mailbox, detail=str(exc))
            return
        for selected in list(view.sessions):
            if selected.push is not None:
                if selected.reader:
                    await still_open(self.extras.sharing, selected)
                if selected.push is not None:
                    selected.push()

    # ---- clockwork

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)
        now = self.clock.monotonic()
        for connection in list(self._connections):
            connection.check_time(now)
        if now - self._polled >= _POLL:
            self._polled = now
            self._stir([mailbox for mailbox, view in self._views.items() if view.sessions])
        self._drop_views(now)

    def _drop_views(self, now: float) -> None:
        """Forget views that nobody has open: after a while, or sooner when they hold many rows."""
        unused = []
        for view in self._views.values():
            if view.sessions:
                view.unused_since = now
            else:
                unused.append(view)
        unused.sort(key=lambda view: view.unused_since, reverse=True)
        rows = 0
        for view in unused:
            rows += 0 if view.columns is None else len(view.columns)
            if now - view.unused_since > _UNUSED or rows > _UNUSED_ROWS:
                del self._views[view.mailbox]
