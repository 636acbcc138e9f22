"""TLS reports that come in (RFC 8460 §4.4) as values: JSON, usually compressed, by somebody out there; bounded and checked."""
# SPDX-License-Identifier: Apache-2.0

import datetime
import json
import zlib
from dataclasses import dataclass
from typing import Any

MAX_SIZE = 4 * 2**20  # octets of JSON
MAX_POLICIES = 100
MAX_FAILURES = 1000
MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class TlsFailures:
    """One kind of failure with one host; ``result`` is a type of RFC 8460 §4.3."""

    result: str
    sessions: int
    host: str = ""
    address: str = ""
    sender: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReportedTls:
    """Of one policy. ``kind``: "tlsa", "sts", "no-policy-found"."""

    kind: str
    domain: str
    good: int
    failed: int
    failures: tuple[TlsFailures, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    organization: str
    id: str
    policies: tuple[ReportedTls, ...]
    begin: float
    end: float


def parse_tls_report(octets: bytes) -> TlsReport | None:
    """None: it is none."""
    if octets.startswith(b"\x1f\x8b"):
        inflate = zlib.decompressobj(wbits=31)
        try:
            octets = inflate.decompress(octets, MAX_SIZE)
        except zlib.error:
            return None
        if inflate.unconsumed_tail:  # a bomb, or more than anybody can mean
            return None
    if len(octets) > MAX_SIZE:
        return None
    try:
        report = json.loads(octets)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or not isinstance(report.get("policies"), list):
        return None
    span = report.get("date-range")
    span = span if isinstance(span, dict) else {}
    policies = tuple(one for each in report["policies"][:MAX_POLICIES] if (one := _policy(each)) is not None)
    if not policies:
        return None
    return TlsReport(
        _text(report, "organization-name"),
        _text(report, "report-id"),
        policies,
        _time(span, "start-datetime"),
        _time(span, "end-datetime"),
    )


def _policy(entry: Any) -> ReportedTls | None:
    if not isinstance(entry, dict) or not isinstance(policy := entry.get("policy"), dict):
        return None
    summary = entry.get("summary")
    summary = summary if isinstance(summary, dict) else {}
    details = entry.get("failure-details")
    failures = details[:MAX_FAILURES] if isinstance(details, list) else []
    return ReportedTls(
        _text(policy, "policy-type"),
        _text(policy, "policy-domain").lower(),
        _number(summary, "total-successful-session-count"),
        _number(summary, "total-failure-session-count"),
        tuple(_failures(each) for each in failures if isinstance(each, dict)),
    )


def _failures(detail: dict[str, Any]) -> TlsFailures:
    return TlsFailures(
        _text(detail, "result-type"),
        _number(detail, "failed-session-count"),
        _text(detail, "receiving-mx-hostname"),
        _text(detail, "receiving-ip"),
        _text(detail, "sending-mta-ip"),
        _text(detail, "failure-reason-code") or _text(detail, "additional-information"),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in value[:MAX_TEXT]).strip()


def _number(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _time(fields: dict[str, Any], name: str) -> float:
    try:
        found = datetime.datetime.fromisoformat(_text(fields, name))
    except ValueError:
        return 0.0
    try:
        return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()
    except (OverflowError, ValueError):
        return 0.0
