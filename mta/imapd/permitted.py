"""Flags under RFC 4314: which of them somebody may set in another's mailbox (§4), and changes that keep to it.

Rights: "s" \\Seen, "t" \\Deleted, "w" all others and keywords. What may not be set is passed over; when nothing is left, NO.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.answer import no
from mta.imapd.columns import Columns
from mta.imapd.rights import mask
from mta.imapd.selected import Selected
from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Copied, Stored
from mta.model.message import Flags
from mta.model.rights import ALL
from mta_hooks.backends import MailStore
from mta_hooks.backends.store import FlagChange

_EVERY = int(Flags.SEEN | Flags.DELETED | Flags.ANSWERED | Flags.FLAGGED | Flags.DRAFT)


async def set_permitted(
    store: MailStore,
    selected: Selected,
    columns: Columns,
    uids: Sequence[Uid],
    change: FlagChange,
    flags: int,
    keywords: frozenset[str],
    since: ModSeq | None,
) -> Stored:
    """As ``MailStore.set_flags``, of what the rights of this session allow. Raises Answer."""
    may, words = mask(selected.rights), keywords if "w" in selected.rights else frozenset[str]()
    if change != "set":
        if (flags or keywords) and not (flags & may or words):
            raise no(b"you have not the right to change these flags", b"NOPERM")
        return await store.set_flags(selected.mailbox, uids, change, flags & may, words, since)
    if not may:
        raise no(b"you have not the right to change flags", b"NOPERM")
    old: set[str] = set()
    if "w" in selected.rights:
        sets = {columns.sets[at] for uid in uids if (at := columns.position(uid)) >= 0}
        old = {word for number in sets for word in columns.table.keywords[number].split()}
    first = await store.set_flags(selected.mailbox, uids, "remove", may & ~flags, frozenset(old - words), since)
    selected.view.took(first)
    left = set(first.modified)
    last = await store.set_flags(selected.mailbox, [uid for uid in uids if uid not in left], "add", flags & may, words)
    return Stored(last.rows, first.modified, last.modseq, last.made)


async def drop_forbidden(store: MailStore, target: MailboxId, rights: str, copied: Copied, words: frozenset[str]) -> None:
    """Copies keep only flags that this session could have set there (RFC 4314 §4). ``words``: keywords that they may have."""
    forbidden = _EVERY & ~mask(rights)
    if rights != ALL and copied.target and (forbidden or (words and "w" not in rights)):
        await store.set_flags(target, copied.target, "remove", forbidden, frozenset() if "w" in rights else words)
