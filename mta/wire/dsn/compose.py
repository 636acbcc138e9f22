"""The whole notification: text for people, fields for machines, the message or its header (RFC 6522 §3).

``compose`` is a function over values: the same report gives the same octets. They are strict CRLF and 7-bit, unless the sender's
address needs SMTPUTF8. The message is returned whole only when RET=FULL asks for it, something failed, it is at most ``MAX_FULL``
octets and fits the form (RFC 3461 §6.2); otherwise its header section, cut at ``MAX_HEADER``.
"""
# SPDX-License-Identifier: Apache-2.0

import binascii
import re
from email.header import Header

from mta.wire.dsn.report import Action, RecipientReport, Report
from mta.wire.dsn.status import clean, date, fold, status_fields, status_of
from mta.wire.mime.headers import header_end

MAX_FULL = 100 * 1024
MAX_HEADER = 64 * 1024

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>\Z")
_BARE_LF = re.compile(rb"\r?\n|\r")

_SUBJECTS: dict[Action, str] = {
    "failed": "Undelivered mail returned to sender",
    "delayed": "Mail is delayed, still being tried",
    "delivered": "Mail was delivered",
    "relayed": "Mail was passed on",
    "expanded": "Mail was delivered to a list",
}
_INTROS: dict[Action, str] = {
    "failed": "Your message could not be delivered to the recipients below. It will not be tried again.",
    "delayed": "Your message could not be delivered yet to the recipients below. It is still being tried;\r\n"
    "you need not send it again.",
    "delivered": "Your message was delivered to the recipients below.",
    "relayed": "Your message was passed on to the next server for the recipients below. That server does not\r\n"
    "confirm delivery, so you may hear no more.",
    "expanded": "Your message was delivered to the lists below, and sent on from there.",
}


def compose(report: Report) -> bytes:
    """Return the notification, to be sent from the null sender to ``report.sender``."""
    utf8 = not report.sender.is_ascii
    text = _human_text(report)
    parts = [
        _part(f"text/plain; charset={'us-ascii' if text.isascii() else 'utf-8'}", "Notification", text.encode("utf-8"), utf8=utf8),
        _part(
            "message/global-delivery-status" if utf8 else "message/delivery-status",
            "Delivery report",
            status_fields(report, utf8=utf8).encode("utf-8"),
            utf8=utf8,
        ),
        _returned(report, utf8=utf8),
    ]
    boundary = _boundary(report.id, b"".join(parts))
    delimiter = b"--" + boundary.encode("ascii")
    body = b"".join(b"%b\r\n%b\r\n" % (delimiter, part) for part in parts)
    return _header(report, boundary, utf8=utf8) + b"This is a delivery status notification in MIME format.\r\n\r\n%b%b--\r\n" % (
        body,
        delimiter,
    )


def _header(report: Report, boundary: str, *, utf8: bool) -> bytes:
    actions = {recipient.action for recipient in report.recipients}
    subject = next((text for action, text in _SUBJECTS.items() if action in actions), "Delivery report")
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>",
        f"To: <{clean(str(report.sender), utf8=utf8)}>",
        _subject(report.subject or subject, utf8=utf8),
        f"Date: {date(report.now)}",
        f"Message-ID: <{report.id}@{report.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
    ]
    if utf8:
        lines.append("Content-Transfer-Encoding: 8bit")
    if _MESSAGE_ID.match(report.message_id):
        lines[5:5] = [f"In-Reply-To: {report.message_id}", f"References: {report.message_id}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def _subject(text: str, *, utf8: bool) -> str:
    line = clean(text, utf8=True)
    if utf8 or line.isascii():
        return fold(f"Subject: {line}")
    return "Subject: " + Header(line, "utf-8", header_name="Subject").encode(linesep="\r\n")


def _human_text(report: Report) -> str:
    out = [f"This is the mail system at {report.hostname}.", ""]
    if report.text:
        out += [*(clean(line, utf8=True) for line in report.text.splitlines()), ""]
    for action, intro in _INTROS.items():
        concerned = [recipient for recipient in report.recipients if recipient.action == action]
        if concerned:
            out += [intro, ""]
            out += [line for recipient in concerned for line in _about(recipient)]
    if report.queue_id:
        out += [f"The message came on {date(report.received_at)} and has the id {report.queue_id} here."]
    return "\r\n".join(out) + "\r\n"


def _about(recipient: RecipientReport) -> list[str]:
    lines = [f"<{clean(str(recipient.address), utf8=True)}>"]
    if recipient.diagnostic:
        host = f"{recipient.remote} said: " if recipient.remote else ""
        lines.append(fold(f"    {clean(host + recipient.diagnostic, utf8=True)}").replace("\r\n ", "\r\n    "))
    elif recipient.action == "failed":
        lines.append(f"    status {status_of(recipient)}")
    if recipient.action == "delayed" and recipient.retry_until is not None:
        lines.append(f"    It is tried until {date(recipient.retry_until)}.")
    return [*lines, ""]


def _returned(report: Report, *, utf8: bool) -> bytes:
    original = report.original
    failed = any(recipient.action == "failed" for recipient in report.recipients)
    if report.ret == "FULL" and report.complete and failed and len(original) <= MAX_FULL:
        whole = _crlf(original)
        if utf8 or (whole.isascii() and b"\0" not in whole):
            kind = "message/global" if utf8 else "message/rfc822"
            return _part(kind, "Undelivered message", whole, utf8=utf8, plain=True)
    header = _crlf(original[: min(header_end(original), MAX_HEADER)])
    header = header[: header.rfind(b"\r\n") + 2]
    return _part("message/global-headers" if utf8 else "text/rfc822-headers", "Message header", header, utf8=utf8)


def _crlf(octets: bytes) -> bytes:
    """The normal form of stored messages; what is not in it is brought there."""
    return _BARE_LF.sub(b"\r\n", octets)


def _part(kind: str, description: str, content: bytes, *, utf8: bool, plain: bool = False) -> bytes:
    """Return one body part; content that is not 7-bit or has long lines is quoted-printable, which ``plain`` forbids (RFC 2046 §5.2.1)."""
    lines = [f"Content-Type: {kind}", f"Content-Description: {description}"]
    is_7bit = content.isascii() and b"\0" not in content and max(map(len, content.split(b"\r\n"))) <= 998
    if not is_7bit and not plain:
        lines.append("Content-Transfer-Encoding: quoted-printable")
        content = binascii.b2a_qp(content, istext=True).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    elif not is_7bit and utf8:
        lines.append("Content-Transfer-Encoding: 8bit")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + content


def _boundary(id: str, content: bytes) -> str:
    number = 0
    while (boundary := f"=_{id[:40]}.{number}").encode("ascii") in content:
        number += 1
    return boundary
