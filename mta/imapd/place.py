"""Which mailbox a name means, and what this session may do there (RFC 2342, RFC 4314).

Own mailboxes have plain names. Those of others are ``user/ADDRESS/NAME``, those of accounts that the config calls shared
``shared/ADDRESS/NAME``; what stands before the second "/" without an "@" is an own mailbox like any other. A name costs nothing more
unless it begins so. A mailbox on which somebody has no right at all does not exist for them.
"""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace
from typing import NamedTuple

from mta.imapd.answer import no
from mta.imapd.rights import mask, still_open
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.errors import MailboxNotAllowed, NoSuchMailbox
from mta.model.ids import UserId
from mta.model.mailbox import DELIMITER, MailboxInfo
from mta.model.mailbox_name import normalise_name, parents
from mta.model.rights import ALL, ANYONE, AUTHENTICATED, effective

USERS, SHARED = "user/", "shared/"
_FOREIGN = (USERS, SHARED)


class Place(NamedTuple):
    """``info.name`` is what this client calls it. ``foreign``: the rights come from a list and can be taken away."""

    info: MailboxInfo
    rights: str = ALL
    foreign: bool = False


class Account(NamedTuple):
    """Whose mailboxes a name is about, and the name there; ``prefix`` as this client calls the account."""

    user: UserId
    name: str
    prefix: str = ""
    foreign: bool = False


async def account(session: Session, name: str) -> Account:
    """Raises NoSuchMailbox for an account that is none."""
    if name.startswith(_FOREIGN) and (sharing := session.server.extras.sharing) is not None:
        space, address, inner = [*name.split(DELIMITER, 2), ""][:3]
        if "@" in address:
            found = await sharing.account(address)
            if found is None or not inner:
                raise NoSuchMailbox(name)
            if inner.upper() == "INBOX" or inner[:6].upper() == "INBOX/":
                inner = "INBOX" + inner[5:]
            return Account(found[0], inner, f"{space}/{found[1]}/", found[0] != session.account)
    return Account(session.account, name)


async def locate(session: Session, name: str, needed: str = "") -> Place:
    """The mailbox, on which the session has all rights of ``needed``. Raises NoSuchMailbox, Answer: NO [NOPERM]."""
    of = await account(session, name)
    info = await session.server.store.mailbox(of.user, of.name)
    if not info.exists:
        raise NoSuchMailbox(name)
    if not of.prefix:
        return Place(info)
    shown = replace(info, name=of.prefix + info.name, special_use="", subscribed=False)
    if not of.foreign:
        return Place(shown)
    rights = await rights_on(session, info)
    if not rights:
        raise NoSuchMailbox(name)
    require(rights, needed)
    return Place(shown, rights, True)


async def find(session: Session, name: str, needed: str = "") -> MailboxInfo:
    return (await locate(session, name, needed)).info


async def rights_on(session: Session, info: MailboxInfo) -> str:
    sharing = session.server.extras.sharing
    return "" if sharing is None else effective(await sharing.entries(info.id), session.peer.user)


def require(rights: str, needed: str) -> None:
    """Raises Answer."""
    if not all(letter in rights for letter in needed):
        raise no(b"you have not the right to do that here", b"NOPERM")


async def may_create(session: Session, of: Account) -> None:
    """The right "k" on the nearest mailbox above. Raises Answer, NoSuchMailbox."""
    if not of.foreign:
        return
    store = session.server.store
    try:
        above = parents(normalise_name(of.name))
    except MailboxNotAllowed:
        above = []
    for parent in reversed(above):
        try:
            info = await store.mailbox(of.user, parent)
        except NoSuchMailbox:
            continue
        rights = await rights_on(session, info)
        if not rights:
            break
        require(rights, "k")
        return
    raise no(b"only the owner makes mailboxes there", b"NOPERM")


async def everything(session: Session, starts: str = "") -> tuple[list[MailboxInfo], dict[str, str]]:
    """What LIST knows: own mailboxes and names, and those of others that may be looked up; the rights on the latter by name.

    starts  names that begin otherwise may be left out
    """
    own = await session.server.store.mailboxes(session.account, starts)
    sharing = session.server.extras.sharing
    if sharing is None or not any(space.startswith(starts[: len(space)]) for space in _FOREIGN):
        return own, {}
    names = (session.peer.user.lower(), AUTHENTICATED, ANYONE)
    lent = await sharing.shared_with(names, but=session.account)
    if not lent:
        return own, {}
    found: dict[str, MailboxInfo] = {}
    subscribed = {info.name for info in own if not info.exists and info.subscribed}
    rights: dict[str, str] = {}
    for each in lent:
        letters = effective(each.entries, session.peer.user)
        if "l" in letters:
            name = prefix_of(session, each.owner) + each.mailbox.name
            found[name] = replace(each.mailbox, name=name, special_use="", subscribed=name in subscribed)
            rights[name] = letters
    return [*(info for info in own if info.exists or info.name not in found), *found.values()], rights


def prefix_of(session: Session, owner: str) -> str:
    return f"{SHARED if owner.lower() in session.server.shared_accounts else USERS}{owner}/"


async def recheck(session: Session, selected: Selected) -> None:
    """Before a command on a mailbox of somebody else: the rights as they are now. Raises Answer when nothing may be read any more."""
    if not await still_open(session.server.extras.sharing, selected):
        session.out.write(b"* BYE [NOPERM] the selected mailbox may not be read any more\r\n")
        session.end("revoked")
        raise no(b"you have not the right to do that here any more", b"NOPERM")
    if mask(selected.told_rights) != mask(selected.rights):
        selected.told_rights = selected.rights
        for octets in selected.flags_lines():
            session.out.write(octets)
