"""Changes to a message as data: collected from ``message_modify``, ``delivery_modify`` and ``message_sign``, applied between the stages.

All who are asked see the same message; what they answer is applied in plugin order afterwards. An edit that cannot be done is
logged (``hook.edit.refused``) and left out.
"""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.model.address import Address


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add ``name: value``. ``top``: above all others (trace and signature fields); else below the last one.

    ``value`` is unfolded text or holds CRLF only before a space or tab; CR, LF or NUL otherwise are refused with the
    plugin's name in the log.
    """

    name: str
    value: str
    top: bool = True


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Remove the header fields of this name (case does not matter): the ``index``-th from the top, or all when None.

    Fields are counted as the hook saw them: earlier edits move nothing, and the Received and Authentication-Results fields
    that this server writes are not among them.
    """

    name: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class ReplaceHeader:
    """Replace the value of the ``index``-th field of this name, counted as for ``RemoveHeader``; adds one when there is none."""

    name: str
    value: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class SetBody:
    """Another body. ``octets`` is the content: it gets the transfer encoding that it needs, and text gets CRLF line ends.

    content_type  the new Content-Type ("text/plain; charset=utf-8"); "": it stays. When it is multipart/* or message/*, or
                  the message is such a one and it stays, ``octets`` is the body as it is on the wire
    encoded       ``octets`` is the body as it is on the wire, whatever the type; no header field changes
    """

    octets: bytes
    content_type: str = ""
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class ReplacePart:
    """Other content for one MIME part, as ``SetBody`` does it for a message; every other octet stays.

    path  as ``Part.path`` has it: "1", "2.1"; "1" of a message without parts is its body
    """

    path: str
    octets: bytes
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class ReplaceMessage:
    """Another message, header and body, in place of the one the hook saw. Line ends become CRLF; the trace fields of this server stay."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """One more recipient, of this server or elsewhere; nobody gets the message twice. ``message_modify`` only."""

    address: Address


@dataclass(frozen=True, slots=True)
class RemoveRecipient:
    """The recipient with this address does not get the message. Without any recipient left it is discarded. ``message_modify`` only."""

    address: Address


@dataclass(frozen=True, slots=True)
class ReplaceRecipient:
    """``by`` gets the message in place of ``address``, with its DSN parameters.

    In ``delivery_modify``: what RCPT names, for this attempt; the next hop stays, and queue, log and reports keep ``address``.
    """

    address: Address
    by: Address


@dataclass(frozen=True, slots=True)
class SetSender:
    """Another envelope sender: who is told when delivery fails. None is the null sender, which nobody is told for."""

    address: Address | None


HeaderEdit = AddHeader | RemoveHeader | ReplaceHeader
BodyEdit = SetBody | ReplacePart | ReplaceMessage
RecipientEdit = AddRecipient | RemoveRecipient | ReplaceRecipient
DeliveryEdit = AddHeader | RemoveHeader | ReplaceHeader | SetBody | ReplacePart | ReplaceMessage | SetSender | ReplaceRecipient
Edit = (
    AddHeader | RemoveHeader | ReplaceHeader | SetBody | ReplacePart | ReplaceMessage
    | AddRecipient | RemoveRecipient | ReplaceRecipient | SetSender
)  # fmt: skip
