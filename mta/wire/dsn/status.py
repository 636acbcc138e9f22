"""The machine-readable part: fields about the message, then a group for each recipient (RFC 3464 §2).

Octets stay 7-bit: a non-ASCII address is written in the escaped form of RFC 6533 §3; only when the sender's own address is not
ASCII, and the notification therefore needs SMTPUTF8, are addresses written in UTF-8. Nothing a peer said can make a new
field: control characters become "?", or the field is left out.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from datetime import UTC, datetime

from mta.model.address import Address
from mta.wire.dsn.report import Action, RecipientReport, Report
from mta.wire.smtp.params import decode_xtext

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_REPLY = re.compile(r"([245]\d\d)[ -](?:([245]\.\d{1,3}\.\d{1,3})\b)?")
_FALLBACK: dict[Action, str] = {
    "failed": "5.0.0", "delayed": "4.0.0", "delivered": "2.0.0", "relayed": "2.0.0", "expanded": "2.0.0"
}  # fmt: skip
_CLASS: dict[Action, str] = {"failed": "5", "delayed": "4", "delivered": "2", "relayed": "2", "expanded": "2"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FOLD_AT = 76


def status_of(recipient: RecipientReport) -> str:
    """Return the status code; one of another class than the action would contradict it (RFC 3464 §2.3.4) and is not used."""
    said = _REPLY.match(recipient.diagnostic)
    for code in (recipient.status, (said[2] or "") if said else ""):
        if _STATUS.fullmatch(code) and code[0] == _CLASS[recipient.action]:
            return code
    return _FALLBACK[recipient.action]


def status_fields(report: Report, *, utf8: bool) -> str:
    """Return the body of message/delivery-status, or of message/global-delivery-status when ``utf8``, with CRLF."""
    fields = [("Reporting-MTA", f"dns; {report.hostname}")]
    if report.envid is not None and (envid := _decoded(report.envid)) is not None:
        fields.insert(0, ("Original-Envelope-Id", envid))
    fields.append(("Arrival-Date", date(report.received_at)))
    groups = [fields, *(_recipient_fields(recipient, utf8=utf8) for recipient in report.recipients)]
    return "\r\n".join("".join(_field(name, value, utf8=utf8) for name, value in group) for group in groups)


def _recipient_fields(recipient: RecipientReport, *, utf8: bool) -> list[tuple[str, str]]:
    fields = []
    if recipient.orcpt and (original := _original(recipient.orcpt, utf8=utf8)):
        fields.append(("Original-Recipient", original))
    fields.append(("Final-Recipient", typed(recipient.address, utf8=utf8)))
    fields.append(("Action", recipient.action))
    fields.append(("Status", status_of(recipient)))
    if host := re.match(r"[^\[:\s]+", recipient.remote):
        fields.append(("Remote-MTA", f"dns; {host[0]}"))
    if recipient.diagnostic:
        kind = "smtp" if _REPLY.match(recipient.diagnostic) else "x-mta"
        fields.append(("Diagnostic-Code", f"{kind}; {recipient.diagnostic}"))
    if recipient.attempted is not None:
        fields.append(("Last-Attempt-Date", date(recipient.attempted)))
    if recipient.action == "delayed" and recipient.retry_until is not None:
        fields.append(("Will-Retry-Until", date(recipient.retry_until)))
    return fields


def typed(address: Address, *, utf8: bool) -> str:
    """Return the address with its type (RFC 3464 §2.1.2, RFC 6533 §3)."""
    text = str(address)
    if text.isascii():
        return f"rfc822; {text}"
    return f"utf-8; {text if utf8 else _escaped(text)}"


def _escaped(text: str) -> str:
    """RFC 6533 §3 utf-8-addr-unitext in its 7-bit form."""
    return "".join(c if " " < c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in text)


def _original(orcpt: str, *, utf8: bool) -> str | None:
    kind, separator, address = orcpt.partition(";")
    if not separator or not kind.isascii() or not kind.replace("-", "").isalnum():
        return None
    if kind.lower() == "utf-8":
        if not address or not address.isprintable() or " " in address:
            return None
        return f"utf-8; {address if utf8 or address.isascii() else _escaped(address)}"
    decoded = _decoded(address)
    return None if decoded is None else f"{kind}; {decoded}"


def _decoded(xtext: str) -> str | None:
    """Undo xtext; None for what is no xtext or hides a control character (header injection by ENVID and ORCPT)."""
    try:
        text = decode_xtext(xtext)
    except ValueError:
        return None
    return text if text.isascii() and text.isprintable() and text.strip() else None


def _field(name: str, value: str, *, utf8: bool) -> str:
    return fold(f"{name}: {clean(value, utf8=utf8)}") + "\r\n"


def clean(text: str, *, utf8: bool) -> str:
    """Return the text as one line; without ``utf8`` in ASCII."""
    return "".join(c if c.isprintable() and (utf8 or c.isascii()) else "?" for c in text)


def fold(line: str) -> str:
    """Fold at spaces (RFC 5322 §2.2.3); a word that is longer than a line stays whole, up to the 998 of §2.1.1."""
    out: list[str] = []
    while len(line) > _FOLD_AT:
        cut = line.rfind(" ", 1, _FOLD_AT)
        if cut <= 0 or not line[:cut].strip():
            cut = line.find(" ", _FOLD_AT)
        if cut < 0 or cut > 900:
            if len(line) <= 900:
                break
            cut = 900
        out.append(line[:cut])
        line = " " + line[cut:].lstrip(" ")
    out.append(line)
    return "\r\n".join(out)


def date(seconds: float) -> str:
    """Return an RFC 5322 §3.3 date-time in UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S} +0000"
