"""QUIT and the UPDATE state (RFC 1939 §6): +OK only when the removal is durable; the connection closes in any case."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable
from typing import Any

from mta.model.errors import MailError, NoSuchMailbox
from mta.model.ids import Uid
from mta.model.verdict import Action
from mta.pop3d.maildrop import Maildrop
from mta.pop3d.session import Refusal, Session
from mta.wire.pop3 import ok


def quit_(session: Session, _argument: bytes) -> bytes | Awaitable[bytes]:
    session.end("quit")
    maildrop = session.maildrop
    return _update(session, maildrop) if maildrop is not None and maildrop.deleted else ok("bye")


async def _update(session: Session, maildrop: Maildrop) -> bytes:
    server = session.server
    uids = [maildrop.uids[i] for i in sorted(maildrop.deleted)]
    if (plan := server.hooks.mailbox_expunge) is not None:
        await _ask(session, plan, uids)
    try:
        gone, _ = await server.store.remove(maildrop.mailbox, uids)
    except NoSuchMailbox:  # with the mailbox the messages went too
        gone = []
    except MailError as exc:
        server.log.warning("pop3.remove", session=session.id, user=session.user, detail=str(exc))
        raise Refusal("messages not removed", "SYS/TEMP") from exc
    server.log.info("pop3.removed", session=session.id, user=session.user, messages=len(gone))
    return ok("bye")


async def _ask(session: Session, plan: Any, uids: list[Uid]) -> None:
    """May these be removed? Raises Refusal with the verdict's text: then none is."""
    decision = await plan.verdict(session=session, mailbox="INBOX", how="pop3", uids=tuple(uids))
    verdict = decision.verdict
    if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
        return
    session.server.log.info(
        "mailbox.refused",
        session=session.id,
        user=session.user,
        mailbox="INBOX",
        plugin=decision.plugin,
        text=verdict.text,
        reason=verdict.reason,
    )
    raise Refusal(verdict.text or "messages not removed", "SYS/TEMP" if verdict.action is Action.DEFER else "SYS/PERM")
