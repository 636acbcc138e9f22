"""FETCH of what needs the message: sections from its octets, ENVELOPE and BODYSTRUCTURE from the store's parsed form.

Messages are read in batches of bounded size; a large one that is wanted whole is passed on in pieces and never held. The commands
that follow in the pipeline are read for together, so that one thread hop serves many.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mta.imapd.columns import Columns
from mta.imapd.fetch_columns import date_texts, flag_texts
from mta.imapd.sections import Message, literal
from mta.imapd.selected import Positions
from mta.imapd.session import Out, Session
from mta.model.errors import MailError
from mta.model.ids import BlobId
from mta.wire.imap.fetch import Fetch, Item, Octets, Simple
from mta.wire.imap.structure import Parsed, parsed
from mta.wire.mime.headers import MAX_HEADER

_BATCH = 256
_BATCH_OCTETS = 2**20
_LARGE = 2**20
_PIECE = 256 * 1024
PARSED = frozenset({"ENVELOPE", "BODY", "BODYSTRUCTURE"})
Beside = Mapping[str, Mapping[int, bytes]]
"""Items that were looked up before: name → position → how FETCH writes it; a message that is gone is missing."""
NOTHING: Beside = {}


class _Needs(NamedTuple):
    """parsed: ENVELOPE or a structure; octets: the message itself."""

    parsed: bool
    octets: bool


async def send_octets(
    session: Session, columns: Columns, positions: Positions, items: Sequence[Item], newly_seen: set[int], beside: Beside = NOTHING
) -> bool:
    """False when a message had been expunged and its octets are gone. ``beside``: items that were looked up before."""
    needs = _Needs(
        parsed=any(isinstance(item, Simple) and item.name in PARSED for item in items),
        octets=any(isinstance(item, Octets) for item in items),
    )
    complete = True
    for batch in _batches(columns, positions):
        if len(batch) == 1 and columns.sizes[batch[0]] > _LARGE and (whole := _streamable(items)) is not None:
            complete &= await _stream(session, columns, batch[0], items, whole, newly_seen, beside)
            continue
        blobs = [BlobId(columns.blobs[at]) for at in batch]
        known: list[Parsed | None] = [None] * len(batch)
        if needs.parsed:
            known = [Parsed.decode(octets) for octets in await session.server.store.parsed(blobs)]
        wanted = [blob for blob, have in zip(blobs, known, strict=True) if needs.octets or (needs.parsed and have is None)]
        if len(batch) == 1 and columns.sizes[batch[0]] > _LARGE and _only_header(items):
            octets = {wanted[0]: await session.server.store.read(wanted[0], 0, MAX_HEADER)}
        else:
            octets = await _read(session, columns, wanted)
        made: dict[BlobId, bytes] = {}
        for at, blob, have in zip(batch, blobs, known, strict=True):
            message = Message(octets[blob]) if blob in octets else None
            if message is None and (needs.octets or (needs.parsed and have is None)):
                complete = False
                continue
            if needs.parsed and have is None and message is not None:
                have = parsed(message.root, message.octets)
                made[blob] = have.encode()
            await respond(session, columns, at, items, message, have, seen=at in newly_seen, beside=beside)
        if made:
            await session.server.remember(made)
    return complete


def _batches(columns: Columns, positions: Positions) -> Iterator[Positions]:
    """Cut into runs of at most ``_BATCH`` messages and ``_BATCH_OCTETS``; a larger message stands alone."""
    sizes = columns.sizes
    start, octets = 0, 0
    for index, at in enumerate(positions):
        octets += sizes[at]
        if index > start and (octets > _BATCH_OCTETS or index - start >= _BATCH):
            yield positions[start:index]
            start, octets = index, sizes[at]
    yield positions[start:]


# ---- reading


async def _read(session: Session, columns: Columns, wanted: Sequence[BlobId]) -> dict[BlobId, bytes]:
    """The octets of these messages; without those that are gone."""
    early = session.octets
    have = {blob: early[blob] for blob in wanted if blob in early}
    missing = [blob for blob in wanted if blob not in have]
    if missing:
        early.clear()
        missing += _wanted_next(session, columns, set(missing))
        early.update(await _read_there(session, missing))
        have.update({blob: early[blob] for blob in wanted if blob in early})
        if not session.ahead:
            early.clear()
    return have


async def _read_there(session: Session, blobs: Sequence[BlobId]) -> dict[BlobId, bytes]:
    store = session.server.store
    try:
        return dict(zip(blobs, await store.read_many(blobs), strict=True))
    except KeyError:
        pass
    found: dict[BlobId, bytes] = {}
    for blob in blobs:  # one of them is gone: find out which
        try:
            found[blob] = await store.read(blob)
        except KeyError:
            continue
    return found


def _wanted_next(session: Session, columns: Columns, taken: set[BlobId]) -> list[BlobId]:
    """Small messages that the FETCH commands right behind this one will show, one message each."""
    selected = session.mailbox
    if selected.columns is not columns:
        return []
    blobs: list[BlobId] = []
    octets = 0
    for command in session.ahead:
        fetch = command.value
        if not isinstance(fetch, Fetch) or not any(isinstance(item, Octets) for item in fetch.items):
            break
        positions = selected.positions(fetch.sequence, uid=fetch.uid)
        if len(positions) != 1:
            break
        at = positions[0]
        octets += columns.sizes[at]
        if octets > _BATCH_OCTETS:
            break
        blob = BlobId(columns.blobs[at])
        if blob not in taken:
            taken.add(blob)
            blobs.append(blob)
    return blobs


# ---- writing


async def _send(out: Out, octets: bytes) -> None:
    for start in range(0, len(octets), _PIECE):
        out.write(octets[start : start + _PIECE])
        await out.drain()


async def respond(
    session: Session,
    columns: Columns,
    at: int,
    items: Sequence[Item],
    message: Message | None,
    have: Parsed | None,
    *,
    seen: bool,
    size: int | None = None,
    beside: Beside = NOTHING,
) -> None:
    """Send one FETCH response. ``size``: that of the octets when they are not the stored ones."""
    out = session.out
    for piece in _response(session, columns, at, items, message, have, seen=seen, size=size, beside=beside):
        if len(piece) <= _PIECE:
            out.write(piece)
        else:
            await _send(out, piece)
    await out.drain()


def _response(
    session: Session,
    columns: Columns,
    at: int,
    items: Sequence[Item],
    message: Message | None,
    have: Parsed | None,
    *,
    seen: bool,
    size: int | None,
    beside: Beside,
) -> Iterator[bytes]:
    """One FETCH response in pieces; a section is taken when its turn comes, so that many large ones are never held at once."""
    if message is not None:
        for item in items:
            if isinstance(item, Octets) and item.form.startswith("BINARY"):
                message.shown(item)  # raises now if it must, not amid the line
    selected = session.selected
    yield b"* %d FETCH (" % (at + 1) if selected is None or not selected.uidonly else _opening(session, columns, at)
    between = b""
    for item in items:
        yield between
        between = b" "
        if isinstance(item, Octets):
            assert message is not None
            yield from literal(item, message.shown(item))
        else:
            yield _simple(session, columns, at, item.name, have, size, beside)
    for name in _seen_items(session, items) if seen else ():
        yield b" " + _simple(session, columns, at, name, None)
    yield b")\r\n"


def _opening(session: Session, columns: Columns, at: int) -> bytes:
    if session.mailbox.uidonly:
        return b"* %d UIDFETCH (" % columns.uids[at]  # RFC 9586 §3.3
    return b"* %d FETCH (" % (at + 1)


def _seen_items(session: Session, items: Sequence[Item]) -> list[str]:
    """What tells the client that \\Seen was set, unless it asked for it anyway."""
    if Simple("FLAGS") in items:
        return []
    return ["FLAGS", "MODSEQ"] if session.mailbox.condstore and Simple("MODSEQ") not in items else ["FLAGS"]


def _simple(
    session: Session, columns: Columns, at: int, name: str, have: Parsed | None, size: int | None = None, beside: Beside = NOTHING
) -> bytes:
    if name == "UID":
        return b"UID %d" % columns.uids[at]
    if name == "FLAGS":
        (text,) = flag_texts(session.mailbox, columns, [at])
        return b"FLAGS (%b)" % text.encode("ascii")
    if name == "RFC822.SIZE":
        return b"RFC822.SIZE %d" % (columns.sizes[at] if size is None else size)
    if name == "MODSEQ":
        return b"MODSEQ (%d)" % columns.modseqs[at]
    if name == "INTERNALDATE":
        return b'INTERNALDATE "%b"' % date_texts([columns.dates[at]])[0].encode("ascii")
    if name == "ENVELOPE" and have is not None:
        return b"ENVELOPE " + have.envelope
    if name in beside:
        return beside[name].get(at) or b"%b NIL" % name.partition(" ")[0].encode("ascii")  # it went meanwhile
    assert have is not None
    return b"BODY " + have.body if name == "BODY" else b"BODYSTRUCTURE " + have.bodystructure


def _streamable(items: Sequence[Item]) -> Octets | None:
    """The one item that is octets of the whole message, when nothing else needs them."""
    octets = [item for item in items if isinstance(item, Octets)]
    if len(octets) != 1 or any(isinstance(item, Simple) and item.name in PARSED for item in items):
        return None
    (item,) = octets
    plain = item.form in ("BODY", "RFC822") and not item.section.path and not item.section.part
    return item if plain else None


def _only_header(items: Sequence[Item]) -> bool:
    """Nothing but the header section of the message itself is asked for: its first octets are enough."""
    return all(
        not item.section.path and item.section.part.startswith("HEADER") if isinstance(item, Octets) else item.name not in PARSED
        for item in items
    )


async def _stream(
    session: Session, columns: Columns, at: int, items: Sequence[Item], whole: Octets, newly_seen: set[int], beside: Beside
) -> bool:
    """Send a large message, or a stretch of it, piece by piece."""
    out, store, blob = session.out, session.server.store, BlobId(columns.blobs[at])
    origin, count = whole.partial or (0, columns.sizes[at])
    end = min(origin + count, columns.sizes[at])
    try:
        piece = await store.read(blob, origin, min(_PIECE, max(0, end - origin))) if end > origin else b""
    except KeyError:
        return False
    names = [item.name for item in items if isinstance(item, Simple)]
    if at in newly_seen:
        names += _seen_items(session, items)
    out.write(_opening(session, columns, at))
    for name in names:
        out.write(_simple(session, columns, at, name, None, None, beside) + b" ")
    out.write(b"%b {%d}\r\n" % (whole.label, max(0, end - origin)))
    try:
        while True:
            out.write(piece)
            origin += len(piece)
            if origin >= end:
                break
            await out.drain()
            piece = await store.read(blob, origin, min(_PIECE, end - origin))
            if not piece:
                raise ConnectionResetError
    except (MailError, KeyError) as exc:
        # The literal has begun and cannot be finished: an answer would be taken for its octets.
        session.server.log.warning("imap.cut", session=session.peer.id, user=session.peer.user, detail=str(exc))
        raise ConnectionResetError from exc
    out.write(b")\r\n")
    return True
