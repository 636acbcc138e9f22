"""Reports as octets (RFC 8460 §4.4, §5.3), and who wants them (§3). Without I/O."""
# SPDX-License-Identifier: Apache-2.0

import base64
import datetime
import email.utils
import gzip
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from mta_hooks import Address
from mta_tlsrpt.collect import DAY, Key
from mta_tlsrpt.config import TlsRptConfig

MAX_TARGETS = 5


class Reporter(NamedTuple):
    organization: str
    contact: str
    hostname: str

    @classmethod
    def of(cls, config: TlsRptConfig, hostname: str) -> "Reporter":
        return cls(config.organization or hostname, config.contact or f"postmaster@{hostname}", hostname)


def read_record(records: Sequence[bytes]) -> list[str]:
    """Where reports go: "mailto:address" and "https://…"; empty: nobody asks for them (RFC 8460 §3)."""
    ours = [text for text in (r.decode("ascii", "replace").strip() for r in records) if re.match(r"v=TLSRPTv1\s*;", text)]
    if len(ours) != 1:
        return []
    fields = [part.strip().partition("=") for part in ours[0].split(";")[1:]]
    targets = next((value for key, _, value in fields if key.strip() == "rua"), "").split(",")
    return [found for text in targets if (found := _target(text.strip()))][:MAX_TARGETS]


def _target(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "https" and text.isascii() and text.isprintable() and " " not in text:
        return text
    if not colon or scheme.lower() != "mailto":
        return ""
    address = unquote(rest.partition("?")[0])
    try:
        Address.parse(address)
    except ValueError:
        return ""
    return f"mailto:{address}"


def build(results: Sequence[tuple[Key, int]], reporter: Reporter, day: int, domain: str, id: str) -> dict[str, Any]:
    """RFC 8460 §4.4."""
    policies: dict[str, dict[str, Any]] = {}
    for key, count in results:
        if (entry := policies.get(key.policy)) is None:
            kind, lines, mx = json.loads(key.policy)
            policy: dict[str, Any] = {"policy-type": kind, "policy-domain": domain}
            policy |= {"policy-string": lines} if lines else {}
            policy |= {"mx-host": mx} if mx else {}
            summary = {"total-successful-session-count": 0, "total-failure-session-count": 0}
            entry = policies[key.policy] = {"policy": policy, "summary": summary}
        if not key.failure:
            entry["summary"]["total-successful-session-count"] += count
            continue
        entry["summary"]["total-failure-session-count"] += count
        local, mx_host, address, reason = json.loads(key.detail)
        detail = {
            "result-type": key.failure,
            "sending-mta-ip": local,
            "receiving-mx-hostname": mx_host,
            "receiving-ip": address,
            "failed-session-count": count,
            "failure-reason-code": reason,
        }
        entry.setdefault("failure-details", []).append({name: value for name, value in detail.items() if value != ""})
    return {
        "organization-name": reporter.organization,
        "date-range": {"start-datetime": _time(day * DAY), "end-datetime": _time((day + 1) * DAY - 1)},
        "contact-info": reporter.contact,
        "report-id": id,
        "policies": list(policies.values()),
    }


def compress(report: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(report).encode(), mtime=0)


def compose(octets: bytes, reporter: Reporter, day: int, domain: str, id: str, to: str, now: float) -> bytes:
    """The message (RFC 8460 §5.3); TLS-Required: it goes also when TLS is what is broken (RFC 8689 §5)."""
    name = f"{reporter.hostname}!{domain}!{day * DAY}!{(day + 1) * DAY - 1}.json.gz"
    boundary = f"report-{id.partition('@')[0]}"
    submitter = reporter.hostname
    lines = [
        f"From: {reporter.contact}",
        f"To: {to}",
        f"Date: {email.utils.format_datetime(datetime.datetime.fromtimestamp(now, datetime.UTC))}",
        f"Message-ID: <{id}>",
        f"Subject: Report Domain: {domain} Submitter: {submitter}\r\n Report-ID: <{id}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {submitter}",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is an aggregate report on TLS with the mail servers of {domain},",
        f"as {submitter} saw it on {_time(day * DAY)[:10]} (UTC).",
        "",
        f"--{boundary}",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{name}"',
        "",
        base64.encodebytes(octets).decode("ascii").strip().replace("\n", "\r\n"),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8")


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
