"""What aiosmtpd's handlers answer, "250 OK" or "550 5.7.1 no", as verdicts and delivery answers."""
# SPDX-License-Identifier: Apache-2.0

import re

from mta_hooks import Deferred, Delivered, Failed, TemporaryFailure, Verdict, defer, reject

_STATUS = re.compile(r"([2-5][0-9]{2})(?:[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3}) ?)?(.*))?", re.DOTALL)


def parse(status: object) -> tuple[int, str, str]:
    """(code, enhanced or "", text in one line). Raises TemporaryFailure for what is no status."""
    text = status.decode("utf-8", "replace") if isinstance(status, bytes) else status
    found = _STATUS.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise TemporaryFailure(f"the handler answered {status!r}, which is no SMTP status")
    words = " ".join((found[3] or "").split())
    return int(found[1]), found[2] or "", words.encode("ascii", "replace").decode()


def as_verdict(status: object) -> Verdict | None:
    """None for 2xx and 3xx; 421 hangs up. Raises TemporaryFailure."""
    code, enhanced, text = parse(status)
    if code < 400:
        return None
    if code < 500:
        verdict = defer(text or "try again later", code=code, enhanced=enhanced if enhanced.startswith("4") else "4.7.1")
        return verdict.disconnect() if code == 421 else verdict
    return reject(text or "refused", code=code, enhanced=enhanced if enhanced.startswith("5") else "5.7.1")


def as_answer(status: object) -> Delivered | Deferred | Failed:
    """Raises TemporaryFailure."""
    code, enhanced, text = parse(status)
    if code < 400:
        return Delivered(text)
    if code < 500:
        return Deferred(text or "try again later")
    return Failed(text or "refused", enhanced=enhanced if enhanced.startswith("5") else "5.7.1")
