"""Parameters of MAIL: what each asks for, noted on the transaction (RFC 1870, 6152, 3030, 6531, 4954, 3461, 8689, 4865, 2852, 6710).

A wish that this client may not have is refused (HOLDFOR, REQUIRETLS without TLS) or, where its RFC has it so, reduced
(MT-PRIORITY): the reply to MAIL then says what came of it.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Mapping

from mta.model.reply import Reply
from mta.pipeline.transaction import MailTransaction
from mta.pluginhost.crossing import one_line
from mta.pluginhost.offered import Offered
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step, settled
from mta.wire.smtp.params import (
    read_body,
    read_by,
    read_envid,
    read_hold_for,
    read_hold_until,
    read_priority,
    read_ret,
    read_size,
)

Read = Callable[[SmtpProtocol, MailTransaction, str | None], Reply | None]
"""Returns what the peer is told instead of 250, or None."""


Pending = list[tuple[Offered, str | None]]
"""Checks of parameters, with the value, whose plugins have to be waited for."""


def read_parameters(
    link: SmtpProtocol, transaction: MailTransaction, params: Mapping[str, str | None], pending: Pending
) -> Reply | None:
    """Put what they say on the transaction; plugins look at theirs, now or with what comes into ``pending``. Raises Refused for a bad
    value, TemporaryFailure."""
    for keyword, value in params.items():
        if (read := _READERS.get(keyword)) is not None:
            if (reply := read(link, transaction, value)) is not None:
                return reply
        elif (check := link.server.hooks.offering.mail.get(keyword)) is None:
            return replies.NO_PARAMETER
        elif isinstance(check, Offered):
            pending.append((check, value))
        elif problem := check(value):
            return Reply(501, "5.5.4", problem)
    if transaction.deliver_by is not None and transaction.release_at > transaction.deliver_by:
        return Reply(501, "5.5.4", "it would be delivered too late by its own wish")
    return None


async def ask_pending(pending: Pending, go_on: Callable[[], Step]) -> Reply | None:
    """What the first check says that finds fault, else what comes of ``go_on``. Raises TemporaryFailure."""
    for check, value in pending:
        if problem := await check(value=value):
            return Reply(501, "5.5.4", one_line(problem)[:500])
    return await settled(go_on())


def is_believed(link: SmtpProtocol) -> bool:
    """What this client asks for, it asks for itself or as one of ours."""
    return link.trusted or bool(link.peer.user)


def _size(link: SmtpProtocol, _transaction: MailTransaction, value: str | None) -> Reply | None:
    return replies.TOO_BIG if read_size(value) > link.server.message_size else None


def _body(_link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> None:
    body = read_body(value)
    transaction.eightbit, transaction.binary = body != "7BIT", body == "BINARYMIME"


def _smtputf8(_link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> Reply | None:
    transaction.smtputf8 = True
    return replies.NO_PARAMETER if value is not None else None


def _auth(_link: SmtpProtocol, _transaction: MailTransaction, value: str | None) -> Reply | None:
    """RFC 4954 §5: taken and not believed."""
    return None if value else replies.NO_PARAMETER


def _ret(_link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> None:
    transaction.ret = read_ret(value)


def _envid(_link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> None:
    transaction.envid = read_envid(value)


def _requiretls(link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> Reply | None:
    """RFC 8689 §2, §4.1: only over TLS."""
    if value is not None:
        return replies.NO_PARAMETER
    if not link.peer.tls:
        return replies.NEED_TLS_TO_REQUIRE
    transaction.requiretls = True
    return None


def _hold(link: SmtpProtocol, transaction: MailTransaction, at: float, latest: float) -> Reply | None:
    """RFC 4865 §4: for submission, one of the two parameters, not longer than was offered."""
    if not link.server.future_release or not link.peer.user:
        return replies.NO_PARAMETER
    if transaction.release_at or at > latest:
        return replies.NOT_SO_LONG
    transaction.release_at = at
    return None


def _hold_for(link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> Reply | None:
    now = link.server.clock.now()
    return _hold(link, transaction, now + read_hold_for(value), now + link.server.future_release)


def _hold_until(link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> Reply | None:
    return _hold(link, transaction, read_hold_until(value), link.server.latest_release)


def _by(link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> Reply | None:
    """RFC 2852 §4.1."""
    seconds, mode = read_by(value)
    if mode.startswith("R") and seconds < link.server.deliver_by_minimum:
        return replies.NOT_SO_SOON
    transaction.deliver_by, transaction.by_mode = link.server.clock.now() + seconds, mode
    return None


def _priority(link: SmtpProtocol, transaction: MailTransaction, value: str | None) -> None:
    """RFC 6710 §4.1, §5: not everybody may jump the queue; who goes behind others may always."""
    asked = read_priority(value)
    transaction.priority = asked if is_believed(link) else min(asked, 0)


def told(transaction: MailTransaction, params: Mapping[str, str | None]) -> Reply:
    """The reply to a MAIL with parameters that was taken."""
    if "MT-PRIORITY" in params and int(params["MT-PRIORITY"] or 0) != transaction.priority:
        return Reply(250, "2.3.6", f"{transaction.priority} is the priority")
    return replies.MAIL_OK


_READERS: Mapping[str, Read] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _smtputf8,
    "AUTH": _auth,
    "RET": _ret,
    "ENVID": _envid,
    "REQUIRETLS": _requiretls,
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
    "BY": _by,
    "MT-PRIORITY": _priority,
}
