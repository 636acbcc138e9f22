"""URLAUTH (RFC 4467): URLs that let others read one message or a part of it, until they expire or their mailbox's key is thrown away.

The token is an HMAC of the URL under a key that only the server knows, one for each mailbox, made when it is first needed. It lies among
the annotations, under no account, where no client can name it.
"""
# SPDX-License-Identifier: Apache-2.0

import hmac
import secrets
from datetime import datetime
from urllib.parse import unquote

from mta.imapd.answer import bad, no, ok
from mta.imapd.session import Session
from mta.imapd.urls import BadUrl, show_in
from mta.model.errors import NoSuchMailbox
from mta.model.ids import MailboxId, UserId
from mta.wire.imap.response import string
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.url import Authority, Url, read_url
from mta.wire.imap.urlauth import GenUrlAuth, ResetKey, UrlFetch
from mta_hooks.backends import Annotations

_NOBODY = UserId(-1)
_ENTRY = "/urlauth"
_ALGORITHM = "01"
"""The first octet of a token says how it is made (RFC 4467 §6): HMAC-SHA-256."""


async def genurlauth(session: Session, command: GenUrlAuth) -> bytes:
    made = []
    for octets, mechanism in command.urls:
        url, authority = _read(octets)
        if mechanism != "INTERNAL":
            raise bad(b"INTERNAL is the only mechanism")
        if authority is None or authority.token or not url.user or url.mailbox is None:
            raise bad(b"expected an absolute URL that ends with ;URLAUTH= and whom it is for")
        if not _is_ours(session, url) or _whole(url.user, url) != session.peer.user.lower():
            raise no(b"not a mailbox of yours", b"NOPERM")
        mailbox = await session.server.store.mailbox(session.account, url.mailbox)
        key = await _key(_annotations(session), mailbox.id, make=True)
        made.append(octets + b":internal:" + _token(key, authority).encode("ascii"))
    session.out.write(b"* GENURLAUTH %b\r\n" % b" ".join(map(string, made)))
    return ok(b"that is all")


async def urlfetch(session: Session, command: UrlFetch) -> bytes:
    """NIL for every URL that shows nothing, whatever the reason (RFC 4467 §8)."""
    for octets in command.urls:
        try:
            shown = await _fetched(session, octets)
        except (BadUrl, OverflowError, NoSuchMailbox):
            session.out.write(b"* URLFETCH %b NIL\r\n" % string(octets))
            continue
        session.out.write(b"* URLFETCH %b {%d}\r\n" % (string(octets), len(shown)))
        session.out.write(shown)
        session.out.write(b"\r\n")
        await session.out.drain()
    return ok(b"that is all")


async def resetkey(session: Session, command: ResetKey) -> bytes:
    if any(mechanism != "INTERNAL" for mechanism in command.mechanisms):
        raise bad(b"INTERNAL is the only mechanism")
    store, annotations = session.server.store, _annotations(session)
    if command.mailbox is not None:
        mailboxes = [await store.mailbox(session.account, command.mailbox)]
    else:
        mailboxes = [info for info in await store.mailboxes(session.account) if info.exists]
    for info in mailboxes:
        if await _key(annotations, info.id):
            await annotations.annotate(info.id, _NOBODY, {_ENTRY: None}, most=1)
        await session.out.drain()
    return ok(b"what was given away is void", b"URLMECH INTERNAL")


def _read(octets: bytes) -> tuple[Url, Authority | None]:
    try:
        url = read_url(octets)
    except Malformed as exc:
        raise bad(str(exc).encode("ascii")) from None
    return url, url.authority


async def _fetched(session: Session, octets: bytes) -> bytes:
    try:
        url = read_url(octets)
    except Malformed:
        raise BadUrl from None
    authority = url.authority
    if authority is None or authority.mechanism != "INTERNAL" or not url.mailbox or not _is_ours(session, url):
        raise BadUrl
    if not _is_meant(session, url, authority):
        raise BadUrl
    owner = await _owner(session, _whole(url.user, url))
    mailbox = await session.server.store.mailbox(owner, url.mailbox)
    key = await _key(_annotations(session), mailbox.id)
    if not key or not hmac.compare_digest(authority.token, _token(key, authority)):
        raise BadUrl
    return await show_in(session, mailbox.id, mailbox.name, url, session.server.config.limits.message_size)


def _is_meant(session: Session, url: Url, authority: Authority) -> bool:
    """For whom it is, and until when. ``submit+`` is for submission servers that fetch for their clients; none logs in here."""
    if authority.expire and datetime.fromisoformat(authority.expire).timestamp() <= session.server.clock.now():
        return False
    kind, _, user = authority.access.partition("+")
    return kind in ("anonymous", "authuser") or (kind == "user" and _whole(unquote(user), url) == session.peer.user.lower())


async def _owner(session: Session, address: str) -> UserId:
    if address == session.peer.user.lower():
        return session.account
    sharing = session.server.extras.sharing
    found = None if sharing is None else await sharing.account(address)
    if found is None:
        raise BadUrl
    return found[0]


def _is_ours(session: Session, url: Url) -> bool:
    """Named by the server, or by the domain of whose mailbox it is: ``imap://joe@example.com/`` (RFC 4467 §6)."""
    return url.host == session.server.config.hostname.lower() or _whole(url.user, url).endswith(f"@{url.host}")


def _whole(user: str, url: Url) -> str:
    """The account: a name without domain is one of the URL's host."""
    return (user if "@" in user else f"{user}@{url.host}").lower()


def _annotations(session: Session) -> Annotations:
    if (annotations := session.server.extras.annotations) is None:
        raise bad(b"no URLAUTH here")
    return annotations


async def _key(annotations: Annotations, mailbox: MailboxId, *, make: bool = False) -> bytes:
    """b"": it has none. Two that are made at once: the last one stays, and the other's URLs are void."""
    key = (await annotations.annotations(mailbox, _NOBODY)).get(_ENTRY, b"")
    if not key and make:
        key = secrets.token_bytes(32)
        await annotations.annotate(mailbox, _NOBODY, {_ENTRY: key}, most=1)
    return key


def _token(key: bytes, authority: Authority) -> str:
    return _ALGORITHM + hmac.digest(key, authority.signed.encode("ascii"), "sha256").hex()
