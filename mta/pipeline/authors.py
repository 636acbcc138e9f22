"""Whom a message says it is from: fields that readers show differently, and authors that a user is not (RFC 5322 §3.6, RFC 6409 §8).

A message with two From fields has the one author that a filter looks at and the other that a reader shows (CVE-2024-49040).
"""
# SPDX-License-Identifier: Apache-2.0

from mta.directory.senders import Senders
from mta.model.address import Address
from mta.model.errors import Refused
from mta.model.reply import Reply
from mta.pipeline.header import split_fields
from mta.pipeline.message import MailMessage
from mta.pipeline.session import MailSession
from mta.wire.mime.addresses import Mailbox, addresses
from mta.wire.mime.headers import unfold

_SINGLE = (b"from", b"sender", b"date", b"message-id")
NOT_YOURS = Reply(550, "5.7.1", "the From or Sender field names an address that does not belong to you")


def refuse_ambiguous(message: MailMessage) -> None:
    """Raises Refused for two fields of which there may be one, and for several authors. Plain mail costs five searches."""
    lowered = message.lowered
    for name in _SINGLE:
        if lowered.count(b"\n" + name) > 1 and len(_values(message, name)) > 1:
            raise Refused(Reply(550, "5.6.0", f"more than one {name.decode().title()} field (RFC 5322 section 3.6)"))
    start = lowered.find(b"\nfrom")
    end = lowered.find(b"\n", start + 1)
    if start < 0 or (lowered.find(b",", start, end) < 0 and not lowered.startswith((b" ", b"\t"), end + 1)):
        return
    if any(len(_mailboxes(value)) > 1 for value in _values(message, b"from")):
        raise Refused(Reply(550, "5.6.0", "more than one address in From"))


async def refuse_foreign(message: MailMessage, senders: Senders, session: MailSession) -> None:
    """Raises Refused when From or Sender holds an address that the account may not send as, or none that can be read."""
    for value in (*_values(message, b"from"), *_values(message, b"sender")):
        mailboxes = _mailboxes(value)
        if not mailboxes:
            raise Refused(NOT_YOURS, "no address in From or Sender")
        for mailbox in mailboxes:
            address = _address(mailbox)
            if address is None or not await senders.may_use(address, session.user, session.user_id):
                raise Refused(NOT_YOURS, f"{address}" if address is not None else "malformed address in From or Sender")


def _values(message: MailMessage, name: bytes) -> list[bytes]:
    return [unfold(field.partition(b":")[2]) for known, field in split_fields(message.head) if known == name]


def _mailboxes(value: bytes) -> list[Mailbox]:
    """Addresses, without what starts and ends groups."""
    return [one for one in addresses(value) if one.host is not None]


def _address(mailbox: Mailbox) -> Address | None:
    local, host = mailbox.mailbox or b"", mailbox.host or b""
    try:
        return Address.parse(str(Address(local.decode(), "")) + "@" + host.decode())
    except ValueError:
        return None
