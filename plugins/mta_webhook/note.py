"""What is told: the record as JSON, and an id that is the same each time the same thing is told."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mta_hooks import DeliveryRecord, MailboxEvent


def build_note(hook: str, record: DeliveryRecord | MailboxEvent) -> tuple[str, bytes]:
    """Return (id, body). The id is a hash of what happened, so that it survives retries, crashes and ``mta hooks replay``."""
    data = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    happened = datetime.fromtimestamp(record.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = _json({"type": hook, "timestamp": happened, "data": data})
    return f"msg_{hashlib.sha256(body).hexdigest()[:32]}", body


def _json(value: Any) -> bytes:
    """ASCII, keys sorted; what is no Unicode in a value travels as an escape."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
