"""Mail for an address of ours that another server forwards back to it: Delivered-To, as qmail and Postfix's local(8) write and read it.

The field names the address that mail was sent on for. Who finds his own does not get the message once more (RFC 5321 §6.3).
Left out: the field on mail for mailboxes, where every loop ends; see docs/decisions/forwarding-loops.md.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.directory.resolve import Resolution
from mta.model.address import Address
from mta.model.verdict import reject
from mta.pipeline.message import MailMessage
from mta.pipeline.rulings import DELIVER, Ruling
from mta.pipeline.transaction import Accepted

_LOOP = Ruling(reject("mail forwarding loop", code=554, enhanced="5.4.6", reason="its own Delivered-To field"))


def looping(message: MailMessage, accepted: Sequence[Accepted]) -> list[Ruling]:
    """A ruling for each recipient; [] when none of them had the message before."""
    if not message.count(b"delivered-to"):
        return []
    known = sent_on_for(message)
    back = [is_forwarded(one.recipient.address, one.resolution) and str(one.recipient.address).lower() in known for one in accepted]
    return [_LOOP if looped else DELIVER for looped in back] if any(back) else []


def delivered_to(accepted: Sequence[Accepted], *, smtputf8: bool) -> bytes:
    """The field for the next server. Of several recipients none is named: there is one header for all, and it may be a blind copy."""
    if len(accepted) != 1 or not is_forwarded(accepted[0].recipient.address, accepted[0].resolution):
        return b""
    return field(accepted[0].recipient.address, smtputf8=smtputf8)


def field(address: Address, *, smtputf8: bool) -> bytes:
    return f"Delivered-To: {address}\r\n".encode() if smtputf8 or address.is_ascii else b""


def sent_on_for(message: MailMessage) -> set[str]:
    """Addresses, in small letters, that it was sent on for, as it says."""
    return {value.strip().lower() for value in message.header_all("Delivered-To")}


def is_forwarded(address: Address, found: Resolution) -> bool:
    """An address of ours that stands for one elsewhere."""
    return bool(found.remote) and found.is_ours and any(other != address for other in found.remote)
