"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208 §4; clients of RFC 2087 read the same answers).

An account is one quota root, named by its address. It is the root of its mailboxes when it has a limit; who may read a mailbox of
somebody else may ask for that root. Limits are the operator's: SETQUOTA is refused, and QUOTASET is not offered.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import bad, no, ok
from mta.imapd.place import account, everything, locate
from mta.imapd.session import Session
from mta.model.errors import NoSuchMailbox
from mta.model.ids import UserId
from mta.model.quota import Usage
from mta.wire.imap.mailbox import encode_name
from mta.wire.imap.response import string
from mta_hooks.backends.extras import Quotas


def _quotas(session: Session) -> Quotas:
    quotas = session.server.extras.quotas
    if quotas is None:
        raise bad(b"no quotas here")
    return quotas


async def get_quota_root(session: Session, name: str) -> bytes:
    quotas = _quotas(session)
    place = await locate(session, name, "r")
    of = await account(session, name)
    root = (of.prefix.split("/")[1] if of.prefix else session.peer.user).encode()
    usage = await quotas.usage(of.user)
    shown = b" " + string(root) if usage.limited else b""
    session.out.write(b"* QUOTAROOT %b%b\r\n" % (encode_name(place.info.name, utf8=session.utf8), shown))
    if usage.limited:
        session.out.write(_line(root, usage))
    return ok(b"that is all")


async def get_quota(session: Session, root: str) -> bytes:
    quotas = _quotas(session)
    session.out.write(_line(root.encode(), await quotas.usage(await _whose(session, root))))
    return ok(b"that is all")


async def set_quota(session: Session, _root: str) -> bytes:
    _quotas(session)
    raise no(b"only the operator sets quotas: mta user quota", b"NOPERM")


async def _whose(session: Session, root: str) -> UserId:
    """Raises NoSuchMailbox for a root of which the client cannot know."""
    if root.lower() == session.peer.user.lower():
        return session.account
    sharing = session.server.extras.sharing
    found = await sharing.account(root) if sharing is not None and "@" in root else None
    if sharing is not None and found is not None:
        _, rights = await everything(session)
        owned = f"/{found[1]}/"
        if any(owned in name and "r" in letters for name, letters in rights.items()):
            return found[0]
    raise NoSuchMailbox(root)


def _line(root: bytes, usage: Usage) -> bytes:
    """Resources with a limit; STORAGE in units of 1024 octets (RFC 9208 §5.1), what is begun counts."""
    resources = []
    if usage.octets_limit:
        resources.append(b"STORAGE %d %d" % (-(-usage.octets // 1024), usage.octets_limit // 1024))
    if usage.messages_limit:
        resources.append(b"MESSAGE %d %d" % (usage.messages, usage.messages_limit))
    return b"* QUOTA %b (%b)\r\n" % (string(root), b" ".join(resources))
