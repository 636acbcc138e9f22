"""Records and policies of MTA-STS as values (RFC 8461 §3), without I/O."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MAX_AGE = 31_557_600  # seconds, RFC 8461 §3.2
MAX_SIZE = 65_536  # octets, RFC 8461 §3.3
MAX_PATTERNS = 100

_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_PATTERN = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Policy:
    """``max_age`` in seconds; ``mx``: host names in lower case, the first label of which may be "*"."""

    mode: Literal["enforce", "testing", "none"]
    max_age: int
    mx: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """RFC 8461 §4.1: "*" is exactly one label."""
        rest = host.partition(".")[2]
        return any(pattern == host or (pattern.startswith("*.") and rest == pattern[2:]) for pattern in self.mx)

    def lines(self) -> tuple[str, ...]:
        return ("version: STSv1", f"mode: {self.mode}", *(f"mx: {mx}" for mx in self.mx), f"max_age: {self.max_age}")


def read_record(records: Sequence[bytes]) -> str | None:
    """The id in the TXT records of ``_mta-sts.DOMAIN``; None: the domain says nothing, or nonsense (RFC 8461 §3.1)."""
    ours = [text for text in (r.decode("ascii", "replace").strip() for r in records) if re.match(r"v=STSv1\s*(;|\Z)", text)]
    if len(ours) != 1:
        return None
    fields = dict(part.strip().split("=", 1) for part in ours[0].split(";") if "=" in part)
    id = next((value.strip() for key, value in fields.items() if key.strip() == "id"), "")
    return id if _ID.match(id) else None


def read_policy(octets: bytes) -> Policy:
    """RFC 8461 §3.2. Raises ValueError with what is wrong."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ValueError("the policy is not UTF-8") from exc
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in text.split("\n"):
        key, colon, value = line.strip().partition(":")
        if not colon:
            if key:
                raise ValueError("a line without a colon")
            continue
        key, value = key.strip().lower(), value.strip()
        if key == "mx":
            mx.append(value.lower().rstrip("."))
        else:
            fields.setdefault(key, value)
    if fields.get("version") != "STSv1":
        raise ValueError("the version is not STSv1")
    mode, age = fields.get("mode"), fields.get("max_age", "")
    if mode not in ("enforce", "testing", "none"):
        raise ValueError("the mode is not enforce, testing or none")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise ValueError("max_age is no number of seconds")
    if mode != "none" and not mx:
        raise ValueError("no mx")
    if len(mx) > MAX_PATTERNS or any(len(each) > 255 or not _PATTERN.match(each) for each in mx):
        raise ValueError("an mx is no host name, or there are too many")
    return Policy(mode, min(int(age), MAX_AGE), tuple(mx))  # type: ignore[arg-type]
