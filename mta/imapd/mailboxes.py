"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8; special uses: RFC 6154 §3)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import no, ok
from mta.imapd.object_ids import mailbox_id
from mta.imapd.place import account, locate, may_create
from mta.imapd.session import Session
from mta.model.mailbox import DELIMITER, MAX_DEPTH, MAX_NAME
from mta.wire.imap.command import Create, Rename
from mta.wire.imap.mailbox import is_sane

_USES = {use.lower(): use for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")}
_KEPT_BY_US = ("\\All", "\\Flagged")
"""Views over other mailboxes in RFC 6154; we have none, so no mailbox can be one."""


def _checked(name: str) -> str:
    """A name that may be made; a delimiter at its end only says that children will follow (RFC 9051 §6.3.4)."""
    name = name.removesuffix(DELIMITER)
    if not is_sane(name) or len(name) > MAX_NAME or name.count(DELIMITER) >= MAX_DEPTH:
        raise no(b"not possible with this name", b"CANNOT")
    return name


async def create(session: Session, command: Create) -> bytes:
    name = _checked(command.mailbox)
    uses = [_USES.get(use.lower()) for use in command.special_use]
    if len(uses) > 1 or None in uses or any(use in _KEPT_BY_US for use in uses):
        raise no(b"special use not possible", b"USEATTR")
    of = await account(session, name)
    await may_create(session, of)
    made = await session.server.store.create(of.user, of.name, (uses[0] or "") if uses else "")
    return ok(b"created", b"MAILBOXID (%b)" % mailbox_id(made.id)) if session.server.stable_ids else ok(b"created")


async def delete(session: Session, name: str) -> bytes:
    of = await account(session, name)
    if of.foreign:
        await locate(session, name, "x")
    await session.server.store.delete(of.user, of.name)
    return ok(b"deleted")


async def rename(session: Session, command: Rename) -> bytes:
    new_name = _checked(command.new_name)
    old, new = await account(session, command.mailbox), await account(session, new_name)
    if old.user != new.user:
        raise no(b"mailboxes stay in their account", b"CANNOT")
    if old.foreign:
        await locate(session, command.mailbox, "x")
        await may_create(session, new)
    await session.server.store.rename(old.user, old.name, new.name)
    return ok(b"renamed")


async def subscribe(session: Session, name: str) -> bytes:
    await session.server.store.subscribe(session.account, _checked(name), True)
    return ok(b"subscribed")


async def unsubscribe(session: Session, name: str) -> bytes:
    await session.server.store.subscribe(session.account, name.removesuffix(DELIMITER), False)
    return ok(b"unsubscribed")
