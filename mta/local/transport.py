"""One local recipient from the queue: the ``deliver`` hooks first, then the mailbox.

A hook is called at least once for each recipient; the mailbox delivery is only described here, and done by the database in the
transaction that removes the queue row, hence exactly once. Where mailboxes are apart from the database the depositor does it, and
doing it again changes nothing. A row that says where it goes was placed when it was accepted: no hook is asked again. A hook that fails defers, and when it goes on failing, the message is
held; it never loses one.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from mta.directory.posting import posted_to
from mta.local.deposit import Depositor
from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, Failed, Leased, Trouble
from mta.model.errors import HookFailed, NoSuchUser, OverQuota, TemporaryFailure
from mta.model.ids import UserId
from mta.model.message import LocalDelivery, Placement
from mta.model.pipe import read_pipe
from mta.obs.log import Log
from mta_hooks.backends.database import Database
from mta_hooks.backends.directory import Directory
from mta_hooks.views import Message

Load = Callable[[], Awaitable[Message]]
"""The message, read when the first hook needs it."""


class DeliverPlan(Protocol):
    async def first(self, **arguments: Any) -> Any: ...


class PlacePlan(Protocol):
    async def pipeline(self, name: str, **arguments: Any) -> Any: ...


class LocalHooks(Protocol):
    @property
    def deliver(self) -> DeliverPlan | None: ...
    @property
    def mailbox_deliver(self) -> PlacePlan | None: ...
    @property
    def mailbox_event(self) -> object | None: ...
    @property
    def occurrences(self) -> Any: ...
    def deliver_wants(self, recipient: Address) -> bool: ...
    def pipe(self, name: str) -> DeliverPlan | None: ...


class LocalResult(NamedTuple):
    """``reply`` is a reply with code; ``delivery`` is still to be done; ``delay``: seconds until the next attempt, or None; ``trouble``: a hook failed."""

    leased: Leased
    reply: str
    delivery: LocalDelivery | None = None
    delay: float | None = None
    trouble: Trouble | None = None


class LocalTransport:
    def __init__(
        self,
        hooks: LocalHooks,
        directory: Directory,
        log: Log,
        depositor: Depositor | None = None,
        database: Database | None = None,
    ) -> None:
        """``depositor``: mailboxes are apart from the database; ``database``: whose access lists say where a detail may post."""
        self._database = database
        self.deposits = depositor is not None
        self._depositor = depositor
        self._hooks = hooks
        self._directory = directory
        self._log = log

    @property
    def waits(self) -> bool:
        """False: there is no hook, so a delivery is a decision and takes no time."""
        return self.deposits or self._hooks.deliver is not None or self._hooks.mailbox_deliver is not None

    async def deliver(self, leased: Leased, load: Load, named: str = "") -> LocalResult:
        """Raises nothing but what a bug raises; every failure of a hook or of the storage is a reply. ``named``: the program of a route."""
        try:
            if named:
                return await self._pipe(leased, named, leased.address, load)
            if leased.placement is not None and leased.user is not None:
                return await self._place(leased, leased.user, leased.placement)
            if leased.user is None and (program := read_pipe(leased.address)) is not None:
                return await self._pipe(leased, *program, load)
            return await self._hook(leased, load) or await self._mailbox(leased, load)
        except TemporaryFailure as exc:
            self._log.warning("local.failed", id=leased.message.id, recipient=str(leased.address), reason=str(exc))
            trouble = exc.trouble if isinstance(exc, HookFailed) else None
            return LocalResult(leased, "451 4.3.0 local delivery failed for now", trouble=trouble)

    async def _hook(self, leased: Leased, load: Load) -> LocalResult | None:
        plan = self._hooks.deliver
        if plan is None or not self._hooks.deliver_wants(leased.address):
            return None
        return _result(leased, await plan.first(recipient=leased.address, sender=leased.message.sender, message=await load()))

    async def _pipe(self, leased: Leased, name: str, alias: Address, load: Load) -> LocalResult:
        """The program that an alias or a route names; nobody else is asked."""
        plan = self._hooks.pipe(name)
        if plan is None:
            self._log.error("local.no_program", id=leased.message.id, recipient=str(alias), program=name)
            return LocalResult(leased, "451 4.3.5 the program for this address is away")
        answer = await plan.first(recipient=alias, sender=leased.message.sender, message=await load())
        return _result(leased, answer) or LocalResult(leased, "250 2.0.0 delivered")

    async def _mailbox(self, leased: Leased, load: Load) -> LocalResult:
        if leased.user is None:
            return LocalResult(leased, "550 5.1.1 no such user here")
        placement = Placement()
        if self._database is not None and "+" in leased.address.local:
            owner = await self._directory.user_by_id(leased.user)
            detail = "" if owner is None else _detail(leased.address, owner.address)
            if detail and (folder := await posted_to(self._database, leased.user, detail, leased.message.user)):
                placement = Placement(folder)
        if (plan := self._hooks.mailbox_deliver) is not None:
            user = await self._directory.user_by_id(leased.user)
            if user is None:
                return LocalResult(leased, "550 5.1.1 no such user here")
            message = await load()
            message.notes.pop("detail", None)
            if detail := _detail(leased.address, user.address):
                message.notes["detail"] = detail
            placement = await plan.pipeline(
                "placement", user=str(user.address), recipient=leased.address, message=message, placement=placement
            )
        return await self._place(leased, leased.user, placement)

    async def _place(self, leased: Leased, user: UserId, placement: Placement) -> LocalResult:
        delivery = LocalDelivery(user, leased.address, placement)
        reply = f"250 2.0.0 delivered to {placement.folder}"
        if self._depositor is None:
            return LocalResult(leased, reply, delivery)
        try:
            await self._depositor.deposit(delivery, leased.message)
        except OverQuota:
            if self._hooks.mailbox_event is not None:
                self._hooks.occurrences.tell("QuotaExceed", user, queue_id=leased.message.id)
            return LocalResult(leased, "552 5.2.2 mailbox is full")
        except NoSuchUser:
            return LocalResult(leased, "550 5.1.1 no such user here")
        return LocalResult(leased, reply)


def _result(leased: Leased, answer: Any) -> LocalResult | None:
    match answer:
        case Delivered(text=text):
            return LocalResult(leased, f"250 2.0.0 {text}")
        case Deferred(text=text, enhanced=enhanced, delay=delay):
            return LocalResult(leased, f"451 {_of_class('4', enhanced)} {text}", delay=delay)
        case Failed(text=text, enhanced=enhanced):
            return LocalResult(leased, f"554 {_of_class('5', enhanced)} {text}")
    return None


def _detail(recipient: Address, owner: Address) -> str:
    """What stands behind the "+" when it is not part of the account's own name."""
    base, _, detail = recipient.local.partition("+")
    return detail if base.lower() == owner.local.lower() else ""


def _of_class(first: str, enhanced: str) -> str:
    return enhanced if enhanced.startswith(first + ".") else f"{first}.0.0"
