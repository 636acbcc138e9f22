"""Reports that come in: delivery status notifications (RFC 3464, RFC 6533), complaints (ARF, RFC 5965), TLS reports (RFC 8460) as values.

Whatever cannot be understood is left out; what is no report is None. All of it was said by somebody out there: texts are one line,
printable and bounded, and nothing proves that the message they are about ever was ours.
"""
# SPDX-License-Identifier: Apache-2.0

import binascii
import re
from dataclasses import dataclass
from typing import Literal

from mta.wire.dsn.tls import ReportedTls, TlsReport, parse_tls_report
from mta.wire.mime.entity import Entity
from mta.wire.mime.headers import headers
from mta.wire.mime.parse import parse
from mta.wire.mime.words import decode_quoted_printable

MAX_RECIPIENTS = 200
MAX_TEXT = 1000

_DSN = frozenset({"message/delivery-status", "message/global-delivery-status"})
_TLS = frozenset({"application/tlsrpt+gzip", "application/tlsrpt+json"})
_ORIGINAL = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})

Fields = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """What was reported of one recipient.

    address     Final-Recipient without its type; of a complaint the recipient who complained, where it is told
    original    Original-Recipient without its type, or ""
    action      "failed", "delayed", "delivered", "relayed", "expanded"; "" in a complaint
    status      enhanced status code; diagnostic: Diagnostic-Code without its type; remote: Remote-MTA; "" when not said
    """

    address: str
    original: str = ""
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    remote: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report that somebody sent.

    kind         "dsn", "complaint" (ARF), or "tls" (RFC 8460)
    reporter     Reporting-MTA, of a complaint its User-Agent, of a TLS report its organization
    recipients   at least one of a "dsn"
    envelope_id  Original-Envelope-Id: the ENVID that the message was sent with, or ""
    message_id   of the message that the report is about, from what came back of it, or ""
    sender       of that message: of a complaint Original-Mail-From, else its From field; or ""
    feedback     Feedback-Type of a complaint: "abuse", "fraud", "virus", "not-spam", "other"; auth-failure of RFC 6591 too
    source       Source-IP of a complaint; domains: Reported-Domain, of a TLS report its policy domains
    tls          of a "tls": how many sessions went well or failed, by policy; begin, end: of its time, seconds since 1970
    """

    kind: Literal["dsn", "complaint", "tls"]
    reporter: str
    recipients: tuple[ReportedRecipient, ...]
    envelope_id: str = ""
    message_id: str = ""
    sender: str = ""
    feedback: str = ""
    source: str = ""
    domains: tuple[str, ...] = ()
    tls: tuple[ReportedTls, ...] = ()
    begin: float = 0.0
    end: float = 0.0


def parse_report(octets: bytes) -> ReceivedReport | None:
    """Return what a message reports, or None when it is no multipart/report of a known kind."""
    root = parse(octets)
    if root.content_type != "multipart/report":
        return None
    status = feedback = original = tls = None
    for part in root.children:
        if part.content_type in _DSN:
            status = status or part
        elif part.content_type == "message/feedback-report":
            feedback = feedback or part
        elif part.content_type in _TLS:
            tls = tls or part
        elif part.content_type in _ORIGINAL:
            original = original or part
    returned: Fields = {} if original is None else _fields(_body(octets, original))
    if status is not None:
        return _dsn(_body(octets, status), returned)
    if tls is not None:
        return _tls(parse_tls_report(_body(octets, tls)))
    return None if feedback is None else _complaint(_fields(_body(octets, feedback)), returned)


def _dsn(octets: bytes, returned: Fields) -> ReceivedReport | None:
    groups = [fields for block in _BLANK.split(octets, MAX_RECIPIENTS + 1)[: MAX_RECIPIENTS + 1] if (fields := _fields(block))]
    about = {} if groups and "final-recipient" in groups[0] else groups.pop(0) if groups else {}
    recipients = tuple(one for group in groups if (one := _recipient(group)) is not None)
    if not recipients:
        return None
    return ReceivedReport(
        "dsn",
        _untyped(_first(about, "reporting-mta")),
        recipients[:MAX_RECIPIENTS],
        envelope_id=_first(about, "original-envelope-id"),
        message_id=_first(returned, "message-id"),
        sender=_first(returned, "from"),
    )


def _tls(report: TlsReport | None) -> ReceivedReport | None:
    if report is None:
        return None
    domains = tuple(dict.fromkeys(each.domain for each in report.policies))
    return ReceivedReport(
        "tls", _line(report.organization), (), report.id, domains=domains, tls=report.policies, begin=report.begin, end=report.end
    )


def _recipient(group: Fields) -> ReportedRecipient | None:
    address, action = _address(_first(group, "final-recipient")), _first(group, "action").lower()
    if not address or action not in _ACTIONS:
        return None
    status = re.match(r"[245]\.\d{1,3}\.\d{1,3}", _first(group, "status"))
    return ReportedRecipient(
        address,
        _address(_first(group, "original-recipient")),
        action,
        status[0] if status else "",
        _untyped(_first(group, "diagnostic-code")),
        _untyped(_first(group, "remote-mta")),
    )


def _complaint(fields: Fields, returned: Fields) -> ReceivedReport | None:
    feedback = _first(fields, "feedback-type").lower()
    if not feedback:
        return None
    who = fields.get("original-rcpt-to", [])[:MAX_RECIPIENTS]
    return ReceivedReport(
        "complaint",
        _first(fields, "user-agent"),
        tuple(ReportedRecipient(address) for text in who if (address := text.strip("<> "))),
        envelope_id=_first(fields, "original-envelope-id"),
        message_id=_first(returned, "message-id"),
        sender=_first(fields, "original-mail-from").strip("<>") or _first(returned, "from"),
        feedback=feedback,
        source=_first(fields, "source-ip"),
        domains=tuple(fields.get("reported-domain", ())[:MAX_RECIPIENTS]),
    )


# ---- octets to texts


def _body(octets: bytes, part: Entity) -> bytes:
    body = octets[part.body_start : part.end]
    try:
        if part.encoding == "base64":
            return binascii.a2b_base64(body)
        if part.encoding == "quoted-printable":
            return decode_quoted_printable(body)
    except binascii.Error:
        return b""
    return body


def _fields(block: bytes) -> Fields:
    out: Fields = {}
    for name, value in headers(block.lstrip(b"\r\n")):
        out.setdefault(name.lower(), []).append(_line(value))
    return out


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT]).strip()


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def _untyped(value: str) -> str:
    """``type; text`` without the type (RFC 3464 §2.1.2)."""
    kind, semicolon, text = value.partition(";")
    return text.strip() if semicolon and " " not in kind.strip() else value


def _address(value: str) -> str:
    """An address without its type; the escapes of RFC 6533 §3 undone."""
    text = _untyped(value).strip("<> ")
    return _line(_ESCAPED.sub(_character, text)) if "\\x{" in text else text


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "?"
