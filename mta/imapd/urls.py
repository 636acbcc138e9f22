"""What an IMAP URL shows (RFC 5092): for CATENATE (RFC 4469) and URLFETCH (RFC 4467)."""
# SPDX-License-Identifier: Apache-2.0

from mta.imapd.answer import Answer
from mta.imapd.place import locate
from mta.imapd.sections import Message
from mta.imapd.session import Session
from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId
from mta.pipeline.reading import Stored
from mta.wire.imap.fetch import Octets
from mta.wire.imap.url import Url


class BadUrl(Exception):
    """It names nothing that this client may read."""


async def show(session: Session, url: Url, most: int) -> bytes:
    """At most ``most`` octets. Raises BadUrl, OverflowError, and the store's failures."""
    if url.host and url.host != session.server.config.hostname.lower():
        raise BadUrl
    if url.user and url.user.lower() != session.peer.user.lower():
        raise BadUrl
    if url.mailbox is None:
        if session.selected is None:
            raise BadUrl
        return await show_in(session, session.selected.mailbox, session.selected.name, url, most)
    try:
        place = await locate(session, url.mailbox, "r")
    except (NoSuchMailbox, Answer):
        raise BadUrl from None
    return await show_in(session, place.info.id, place.info.name, url, most)


async def show_in(session: Session, mailbox: MailboxId, name: str, url: Url, most: int) -> bytes:
    """In this mailbox, whose right to read was looked at."""
    server = session.server
    view = await server.view(mailbox)
    columns = await view.load()
    at = columns.position(url.uid)
    if at < 0 or (url.uid_validity is not None and url.uid_validity != view.uid_validity):
        raise BadUrl
    if min(columns.sizes[at], url.count or columns.sizes[at]) > most and not url.section.path and not url.section.part:
        raise OverflowError
    blob = BlobId(columns.blobs[at])
    try:
        if server.readings.wanted:
            octets = await server.readings.octets(Stored(session.peer.user, name, url.uid, blob, columns.sizes[at]))
        else:
            octets = await server.store.read(blob)
    except KeyError:
        raise BadUrl from None
    shown = Message(octets).shown(Octets("BODY", url.section))
    if shown is None:
        raise BadUrl
    shown = shown[url.start : None if url.count is None else url.start + url.count]
    if len(shown) > most:
        raise OverflowError
    return shown
