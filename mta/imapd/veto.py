"""The hooks that may refuse a change of a mailbox before it is made: ``mailbox_append``, ``mailbox_store``, ``mailbox_expunge``.

Callers look at the hook first, so that one which nobody implements costs an attribute test. What was asked about is exactly what
is then done: commands are not gathered, and EXPUNGE removes only the messages that the hook was shown.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from typing import Any

from mta.imapd.answer import no, readable
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.ids import QueueId, Uid
from mta.model.mailbox import NewMessage
from mta.model.message import Flags
from mta.model.verdict import Action
from mta.pipeline.message import MailMessage
from mta.wire.imap.flags import NAMES

# As int: "&" with a member of the enum takes a microsecond.
_DELETED = int(Flags.DELETED)


async def ask(session: Session, plan: Any, mailbox: str, **arguments: Any) -> None:
    """Raises Answer: NO [NOPERM] for reject, NO [UNAVAILABLE] for defer, with the verdict's text."""
    peer = session.peer
    decision = await plan.verdict(session=peer, mailbox=mailbox, **arguments)
    verdict = decision.verdict
    if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
        return
    session.server.log.info(
        "mailbox.refused",
        session=peer.id,
        user=peer.user,
        mailbox=mailbox,
        plugin=decision.plugin,
        text=verdict.text,
        reason=verdict.reason,
    )
    if verdict.hang_up:
        session.out.write(b"* BYE %b\r\n" % (readable(verdict.text) or b"closing"))
        session.ending = True
    code = b"UNAVAILABLE" if verdict.action is Action.DEFER else b"NOPERM"
    raise no(readable(verdict.text) or b"not allowed", code)


async def ask_append(session: Session, plan: Any, mailbox: str, messages: Sequence[NewMessage]) -> None:
    """Once for each message of an APPEND."""
    for new in messages:
        message = MailMessage(QueueId(""), "imap", None, new.content, {})
        flags = flag_names(new.flags, new.keywords)
        await ask(session, plan, mailbox, how="append", message=message, flags=flags, source="", uids=())


async def ask_copy(session: Session, plan: Any, mailbox: str, how: str, selected: Selected, uids: Sequence[Uid]) -> None:
    """Once for a COPY or MOVE, whose messages are in ``selected``."""
    await ask(session, plan, mailbox, how=how, message=None, flags=(), source=selected.name, uids=tuple(uids))


async def ask_expunge(session: Session, plan: Any, selected: Selected, how: str, uids: Sequence[Uid] | None) -> list[Uid]:
    """What of ``uids``, or of all, has \\Deleted: asked about, then to be removed. Empty: there was nothing to ask."""
    view = selected.view
    await view.refresh(force=True)
    columns = await view.load()
    flags = columns.table.flags
    wanted = None if uids is None else set(uids)
    marked = [
        Uid(uid)
        for uid, number in zip(columns.uids, columns.sets, strict=True)
        if flags[number] & _DELETED and (wanted is None or uid in wanted)
    ]
    if marked:
        await ask(session, plan, selected.name, how=how, uids=tuple(marked))
    return marked


def flag_names(flags: int, keywords: frozenset[str]) -> tuple[str, ...]:
    """As clients write them."""
    return (*(name.decode("ascii") for bit, name in NAMES if flags & bit), *sorted(keywords))
