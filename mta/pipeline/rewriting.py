"""The hook ``address_rewrite`` over a message's header: address fields of RFC 5322 §3.6.2, §3.6.3 and §3.6.6.

Only the octets of an address change. Names, comments, encoded words, groups and folding stay as they are; a field that cannot be
read (an open comment, two addresses without a comma) is left alone as far as it cannot.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.address import Address
from mta.obs.log import Log
from mta.pipeline.header import split_fields
from mta.pipeline.hooks import Plan
from mta.pipeline.message import MailMessage
from mta.pipeline.transaction import MailTransaction
from mta.wire.mime.places import find_addresses, replaced, role_of

MOST = 10_000
"""Addresses of a message that are looked at."""


async def rewrite_header(plan: Plan, message: MailMessage, transaction: MailTransaction, log: Log) -> None:
    """Put what the plugins make of each address in its place. Raises TemporaryFailure."""
    known: dict[tuple[str, bytes], bytes] = {}
    room = MOST
    fields = []
    for name, field in split_fields(message.head):
        role = role_of(name)
        if role:
            head, _, value = field.partition(b":")
            found = list(find_addresses(value))[:room]
            room -= len(found)
            for _, text in found:
                if (role, text) not in known:
                    known[role, text] = await _asked(plan, text, role, transaction, log)
            field = head + b":" + replaced(value, found, lambda text, role=role: known[role, text])  # type: ignore[misc]
        fields.append(field)
    made = b"".join(fields)
    if made != message.head:
        message.head = made


async def _asked(plan: Plan, text: bytes, role: str, transaction: MailTransaction, log: Log) -> bytes:
    try:
        address = Address.parse(text.decode("utf-8"))
    except ValueError:
        return text
    new: Address = await plan.pipeline("address", address=address, role=role, transaction=transaction)
    if new == address:
        return text
    made = str(new)
    if not new.domain or (not made.isascii() and not transaction.smtputf8):
        log.warning("address.not_rewritten", id=transaction.id, role=role, address=made)
        return text
    return made.encode()


async def rewrite(plan: Plan, address: Address, role: str, transaction: MailTransaction) -> Address:
    """One address of the envelope. Raises TemporaryFailure."""
    new: Address = await plan.pipeline("address", address=address, role=role, transaction=transaction)
    transaction.smtputf8 |= not str(new).isascii()
    return new
