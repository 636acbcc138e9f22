"""Edits of hooks applied to a message and its envelope, one after the other, each whole or not at all.

What cannot be done is logged with the plugin's name and left out. A new body is in memory up to the bound of the door, then in
a file; the part of a big message that stays is not copied.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from mta.config.sections import Config
from mta.model.address import Address
from mta.model.errors import Refused
from mta.model.message import Content, OctetContent
from mta.obs.log import Log
from mta.pipeline.bodies import Splice, content, own_entity, replace_part, set_type, wire
from mta.pipeline.header import Header, read_head
from mta.pipeline.message import MailMessage
from mta.pipeline.results import strip_forged
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.spool.content import PiecedContent, SpooledContent, join
from mta_hooks.edits import (
    AddHeader,
    AddRecipient,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceHeader,
    ReplaceMessage,
    ReplacePart,
    ReplaceRecipient,
    SetBody,
    SetSender,
)

Resolve = Callable[[Sequence[Address]], Awaitable[list[Accepted]]]

_LARGE = 2**20
"""Octets from which a message is worked on in a thread."""
_KEPT = 200
"""Characters of a problem that the trace keeps."""


class Editor:
    """One for all messages of a worker."""

    def __init__(self, config: Config, log: Log, hostname: str) -> None:
        self._largest = config.limits.message_size
        self._memory = config.limits.memory_per_message
        self._folder = os.path.join(config.data_dir, "tmp")
        self._log = log
        self._hostname = hostname
        self._parsing = asyncio.Semaphore(2)

    async def edit(
        self,
        hook: str,
        answers: Sequence[tuple[str, Edit]],
        message: MailMessage,
        transaction: MailTransaction,
        *,
        above: bytes = b"",
        resolve: Resolve | None = None,
    ) -> int:
        """Change ``message``, whose header then has ``above`` too, and ``transaction``; return how many edits could be done.

        Those that could not are told in the trace, where the answers of all stand already.
        """
        header = Header(message.head, above)
        done = 0
        for plugin, edit in answers:
            try:
                await self._apply(edit, header, message, transaction, resolve)
            except (ValueError, Refused) as exc:
                problem = str(exc.reply if isinstance(exc, Refused) else exc)
                named = {"header": edit.name} if isinstance(edit, AddHeader | RemoveHeader | ReplaceHeader) else {}
                self._log.error("hook.edit.refused", plugin=plugin, hook=hook, edit=type(edit).__name__, problem=problem, **named)
                transaction.steps.append({"hook": hook, "plugin": plugin, "edit": type(edit).__name__, "refused": problem[:_KEPT]})
                continue
            done += 1
        message.head = header.octets
        if not transaction.accepted and not transaction.discard:
            transaction.discard = f"no recipient left by {answers[-1][0]}"
        return done

    async def _apply(
        self, edit: Edit, header: Header, message: MailMessage, transaction: MailTransaction, resolve: Resolve | None
    ) -> None:
        """Raises ValueError, Refused, TemporaryFailure."""
        match edit:
            case AddHeader() | RemoveHeader() | ReplaceHeader():
                if not isinstance(edit, RemoveHeader) and not edit.value.isascii() and not transaction.smtputf8:
                    raise ValueError("a value that is not ASCII, in a message that came without SMTPUTF8: encode it (RFC 2047)")
                header.apply(edit)
            case SetBody():
                await self._set_body(edit, header, message, transaction)
            case ReplacePart():
                await self._replace_part(edit, header, message, transaction)
            case ReplaceMessage():
                await self._replace_message(edit, header, message, transaction)
            case SetSender():
                _sound(edit.address)
                transaction.sender = message.sender = edit.address
                transaction.smtputf8 |= edit.address is not None and not str(edit.address).isascii()
            case _:
                if resolve is None:
                    raise ValueError("recipients cannot change here")
                await _change_recipients(edit, transaction, resolve)

    # ---- bodies

    async def _set_body(self, edit: SetBody, header: Header, message: MailMessage, transaction: MailTransaction) -> None:
        self._fits(len(edit.octets))
        if edit.encoded:
            made = await _aside(len(edit.octets), wire, edit.octets)
        else:
            entity = own_entity(header.head)
            new = await _aside(len(edit.octets), content, edit.octets, entity, edit.content_type)
            made = new.octets
            self._fits(len(made))
            set_type(header, new, entity)
            if new.content_type or new.encoding not in ("", "7bit"):
                header.put("MIME-Version", "1.0")
        self._note(made, transaction)
        message.set_body(await self._kept(b"\r\n" + made))

    async def _replace_part(self, edit: ReplacePart, header: Header, message: MailMessage, transaction: MailTransaction) -> None:
        separator, rest, start = message.body
        head = header.head + separator
        self._fits(len(edit.octets) + rest.size - start)
        async with self._parsing:  # each holds the whole message for the moment
            size = rest.size - start + len(edit.octets)
            splice = await _aside(size, _spliced, head, rest, start, edit)
        if splice is None:
            await self._set_body(SetBody(edit.octets, edit.content_type), header, message, transaction)
            return
        self._note(splice.octets, transaction)
        before = start + splice.start - len(head)
        behind = start + splice.end - len(head)
        new = await self._kept(splice.octets)
        pieces = PiecedContent(((rest, start, before), (new, 0, new.size), (rest, behind, rest.size)))
        message.set_body(await self._kept(pieces.raw()) if pieces.size <= self._memory else pieces, 0, separator)

    async def _replace_message(
        self, edit: ReplaceMessage, header: Header, message: MailMessage, transaction: MailTransaction
    ) -> None:
        self._fits(len(edit.octets))
        octets = await _aside(len(edit.octets), wire, edit.octets)
        self._fits(len(octets))
        whole = await self._kept(octets)
        head, separator, start = read_head(whole)
        head = strip_forged(head, self._hostname)
        if not head:
            raise ValueError("a message without a header")
        if not head.isascii() and not transaction.smtputf8:
            raise ValueError("a header that is not ASCII, in a message that came without SMTPUTF8: encode it (RFC 2047)")
        header.replace(head)
        self._note(octets, transaction)
        message.set_body(whole, start, separator)

    def _fits(self, size: int) -> None:
        if size > self._largest:
            raise ValueError(f"larger than limits.message_size, {self._largest} octets")

    def _note(self, octets: bytes, transaction: MailTransaction) -> None:
        """RFC 6152: who takes it on has to know of 8-bit lines."""
        transaction.eightbit |= not octets.isascii()

    async def _kept(self, octets: bytes) -> Content:
        """In memory up to the bound, else in a file. Raises TemporaryFailure."""
        if len(octets) <= self._memory:
            return OctetContent(octets)
        kept = SpooledContent(self._memory, self._folder)
        kept.write(octets)
        await asyncio.get_running_loop().run_in_executor(None, kept.spill)
        kept.finish()
        return kept


async def _aside(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call here, or in a thread for what takes long."""
    if size < _LARGE:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _spliced(head: bytes, rest: Content, start: int, edit: ReplacePart) -> Splice | None:
    return replace_part(join(head, rest, start).raw(), edit.path, edit.octets, edit.content_type)


async def _change_recipients(edit: Edit, transaction: MailTransaction, resolve: Resolve) -> None:
    """Raises Refused for an address that nobody receives, ValueError for one that is no recipient, TemporaryFailure."""
    known = {one.recipient.address: place for place, one in enumerate(transaction.accepted)}
    match edit:
        case AddRecipient(address):
            _sound(address)
            if address not in known:
                transaction.accepted = [*transaction.accepted, *await resolve([address])]
        case RemoveRecipient(address):
            del transaction.accepted[_place(known, address)]
        case ReplaceRecipient(address, by):
            place = _place(known, address)
            _sound(by)
            (new,) = await resolve([by])
            old = transaction.accepted[place]
            recipient = dataclasses.replace(old.recipient, address=by)
            transaction.accepted[place] = dataclasses.replace(old, recipient=recipient, resolution=new.resolution)


def _sound(address: Address | None) -> None:
    """Raises ValueError for what would be more than an address in a command or a field."""
    if address is not None and not address.is_sound:
        raise ValueError(f"{str(address)[:320]!r} is no address")


def _place(known: Mapping[Address, int], address: Address) -> int:
    if address not in known:
        raise ValueError(f"{address} is no recipient")
    return known[address]
