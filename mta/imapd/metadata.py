"""GETMETADATA and SETMETADATA (RFC 5464), METADATA in LIST (RFC 9590).

Entries below /shared are the mailbox's, those below /private each account's own. Of the server there is /private to be set, and
/shared/comment and /shared/admin by the config. On mailboxes of others: "l" and "r" to read, "w" besides to set /shared (§3.3).
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.imapd.answer import bad, no, ok
from mta.imapd.place import locate, require
from mta.imapd.session import Session
from mta.model.ids import MailboxId
from mta.wire.imap.metadata import GetMetadata, SetMetadata, metadata_line
from mta_hooks.backends.extras import Annotations

MAX_VALUE = 32_768
MAX_VALUES = 1000
"""Of one mailbox, or the server, for each account and for all."""
_PRIVATE, _SHARED = "/private", "/shared"


def _annotations(session: Session) -> Annotations:
    annotations = session.server.extras.annotations
    if annotations is None:
        raise bad(b"no METADATA here")
    return annotations


async def get_metadata(session: Session, command: GetMetadata) -> bytes:
    mailbox, name = None, ""
    if command.mailbox:
        place = await locate(session, command.mailbox, "lr")
        mailbox, name = place.info.id, place.info.name
    found, longest = _chosen(await _known(session, mailbox, command.entries), command)
    if found:
        session.out.write(metadata_line(name, found, utf8=session.utf8))
    return ok(b"some were longer", b"METADATA LONGENTRIES %d" % longest) if longest else ok(b"that is all")


async def send_metadata(session: Session, mailbox: MailboxId, name: str, entries: Sequence[str]) -> None:
    """What LIST returns beside a mailbox (RFC 9590 §3)."""
    found, _ = _chosen(await _known(session, mailbox, entries), GetMetadata(name, tuple(entries)))
    session.out.write(metadata_line(name, found, utf8=session.utf8))


async def _known(session: Session, mailbox: MailboxId | None, entries: Sequence[str]) -> Mapping[str, bytes]:
    """All values of the scopes that are asked for, by full name."""
    annotations = _annotations(session)
    known: dict[str, bytes] = {}
    if any(entry.startswith(_PRIVATE) for entry in entries):
        known.update((_PRIVATE + k, v) for k, v in (await annotations.annotations(mailbox, session.account)).items())
    if any(entry.startswith(_SHARED) for entry in entries):
        known.update((_SHARED + k, v) for k, v in (await annotations.annotations(mailbox, None)).items())
        if mailbox is None:
            imap = session.server.config.imap
            said = {"/comment": imap.comment, "/admin": imap.admin}
            known.update((_SHARED + k, v.encode("utf-8")) for k, v in said.items() if v)
    return known


def _chosen(known: Mapping[str, bytes], command: GetMetadata) -> tuple[list[tuple[str, bytes | None]], int]:
    """Values of the named entries, NIL for what has none, and of those below them; the length of the longest left out."""
    found: dict[str, bytes | None] = {}
    longest = 0
    for entry in command.entries:
        below = entry + "/"
        if command.depth == 0:
            names = [entry]
        else:
            names = [
                name
                for name in sorted(known)
                if name == entry or (name.startswith(below) and (command.depth > 1 or "/" not in name[len(below) :]))
            ]
        for name in names:
            value = known.get(name)
            if value is not None and command.max_size is not None and len(value) > command.max_size:
                longest = max(longest, len(value))
            else:
                found[name] = value
    return list(found.items()), longest


async def set_metadata(session: Session, command: SetMetadata) -> bytes:
    annotations = _annotations(session)
    if any(value is not None and len(value) > MAX_VALUE for value in command.values.values()):
        raise no(b"a value is too long", b"METADATA MAXSIZE %d" % MAX_VALUE)
    private = {k[len(_PRIVATE) :]: v for k, v in command.values.items() if k.startswith(_PRIVATE)}
    shared = {k[len(_SHARED) :]: v for k, v in command.values.items() if k.startswith(_SHARED)}
    mailbox: MailboxId | None = None
    if command.mailbox:
        place = await locate(session, command.mailbox, "lr")
        if shared:
            require(place.rights, "w")
        mailbox = place.info.id
    elif shared:
        raise no(b"only the operator sets what all see of the server", b"NOPERM")
    for user, values in ((session.account, private), (None, shared)):
        if values and not await annotations.annotate(mailbox, user, values, most=MAX_VALUES):
            raise no(b"too many entries", b"METADATA TOOMANY")
    return ok(b"set")
