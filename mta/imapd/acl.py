"""GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3).

The owner has every right, stands first in GETACL and cannot be changed: nobody locks himself out. ``anyone`` and ``authenticated`` are
known beside addresses, and ``-`` before any of them takes rights away.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, no, ok
from mta.imapd.place import Place, account, locate, require
from mta.imapd.session import Session
from mta.model.rights import ALL, TIED, changed, identifier, shown
from mta.wire.imap.acl import Entry, SetAcl, acl_line, list_rights_line, my_rights_line
from mta_hooks.backends.extras import Sharing


def _sharing(session: Session) -> Sharing:
    sharing = session.server.extras.sharing
    if sharing is None:
        raise bad(b"no access lists here")
    return sharing


async def _owner(session: Session, name: str) -> str:
    """The address of whose mailbox it is."""
    of = await account(session, name)
    return of.prefix.split("/")[1] if of.prefix else session.peer.user


async def get_acl(session: Session, name: str) -> bytes:
    sharing = _sharing(session)
    place = await locate(session, name, "a")
    entries = sorted((await sharing.entries(place.info.id)).items())
    lines = [(await _owner(session, name), ALL), *entries]
    session.out.write(acl_line(place.info.name, lines, utf8=session.utf8))
    return ok(b"that is all")


async def set_acl(session: Session, command: SetAcl) -> bytes:
    sharing = _sharing(session)
    place, who = await _administered(session, command.mailbox, command.identifier)
    before = (await sharing.entries(place.info.id)).get(who, "")
    try:
        after = changed(before, command.rights)
    except ValueError as exc:
        raise bad(str(exc).encode("ascii", "replace")) from exc
    await sharing.set_entry(place.info.id, who, after)
    return ok(b"set")


async def delete_acl(session: Session, command: Entry) -> bytes:
    sharing = _sharing(session)
    place, who = await _administered(session, command.mailbox, command.identifier)
    await sharing.set_entry(place.info.id, who, "")
    return ok(b"deleted")


async def _administered(session: Session, name: str, text: str) -> tuple[Place, str]:
    """The mailbox, and the identifier in our spelling. Raises Answer."""
    place = await locate(session, name, "a")
    try:
        who = identifier(text)
    except ValueError as exc:
        raise no(str(exc).encode("ascii"), b"CANNOT") from exc
    if who.removeprefix("-") == (await _owner(session, name)).lower():
        raise no(b"the owner has every right", b"CANNOT")
    return place, who


async def list_rights(session: Session, command: Entry) -> bytes:
    """What can be given to somebody: each right by itself, the owner all of them always."""
    _sharing(session)
    place = await locate(session, command.mailbox, "a")
    if command.identifier.lower() == (await _owner(session, command.mailbox)).lower():
        line = list_rights_line(place.info.name, command.identifier, shown(ALL), (), utf8=session.utf8)
    else:
        line = list_rights_line(place.info.name, command.identifier, "", (*ALL, *TIED), utf8=session.utf8)
    session.out.write(line)
    return ok(b"that is all")


async def my_rights(session: Session, name: str) -> bytes:
    """To whom the mailbox is not hidden altogether (RFC 4314 §4)."""
    _sharing(session)
    place = await locate(session, name)
    if not any(letter in place.rights for letter in "lrikxa"):
        require(place.rights, "l")
    session.out.write(my_rights_line(place.info.name, place.rights, utf8=session.utf8))
    return ok(b"that is all")
