"""``Flagging``: flags of messages whose present ones the caller knows, as one statement over a range where that can be said."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.model.ids import MailboxId, ModSeq, Uid
from mta.model.mailbox import Regrouped
from mta_sql import together
from mta_sql.core import Core
from mta_sql.events import record_flags
from mta_sql.flag_history import remember_flags
from mta_sql.store_write import Sums, lock_mailbox, naming, recount
from mta_sql.transaction import Transaction

_BITS = 0x7FFF
_HERE = " WHERE mailbox_id = ? AND uid BETWEEN ? AND ? AND (flags | ?) & ? <> flags"
_MASK = "UPDATE messages SET flags = (flags | ?) & ?, modseq = ?" + _HERE  # noqa: S608
_MASK_ONLY = "UPDATE messages SET flags = (flags | ?) & ?" + _HERE  # noqa: S608
_FLAG = "UPDATE messages SET flags = ?, keywords = ?, modseq = ? WHERE mailbox_id = ? AND "


class Differs(Exception):
    """The rows are not what the caller took them for; what was done is rolled back."""


def regroup(
    tx: Transaction, core: Core, mailbox: MailboxId, known: ModSeq, groups: Sequence[Regrouped], span: tuple[Uid, Uid] | None
) -> ModSeq | None:
    """Raises Differs."""
    if lock_mailbox(tx, mailbox)[3] != known:
        return None
    sums = Sums()
    for group in groups:
        sums.swap(group)
    modseq = recount(tx, mailbox, sums)
    remember_flags(tx, mailbox, {group.before: group.uids for group in groups})
    mask = None if span is None else _mask(groups)
    many = sum(len(group.uids) for group in groups)
    if span is not None and mask is not None:
        came, kept = mask
        if together.joined(tx, mailbox, *span, many, modseq):
            done = tx.execute(_MASK_ONLY, (came, kept, mailbox, *span, came, kept)).rowcount
            tx.effects.side_by_side += done
        else:
            done = tx.execute(_MASK, (came, kept, modseq, mailbox, *span, came, kept)).rowcount
    else:
        done = 0
        for group in groups:
            among, params = naming(tx, group.uids)
            done += tx.execute(_FLAG + among, (*group.after, modseq, mailbox, *params)).rowcount
    if done != many:
        raise Differs
    if core.events:
        record_flags(tx, core, mailbox, {(group.before, group.after): group.uids for group in groups})
    return modseq


def _mask(groups: Sequence[Regrouped]) -> tuple[int, int] | None:
    """Bits to set, bits to keep: what makes every ``after`` of its ``before``. None: keywords change, or no bits do that."""
    came = gone = 0
    for (before, words), (after, new_words), _, _ in groups:
        if words != new_words:
            return None
        came |= after & ~before
        gone |= before & ~after
    kept = _BITS & ~gone
    return (came, kept) if all((group.before[0] | came) & kept == group.after[0] for group in groups) else None
