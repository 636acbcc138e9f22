"""Values on their way into and out of columns: text that every database takes, JSON, addresses."""
# SPDX-License-Identifier: Apache-2.0

import json
from typing import Any

import msgspec

from mta.model.address import Address

_encoder = msgspec.json.Encoder()


def clean(text: str) -> str:
    """The text without NUL (PostgreSQL takes none) and lone surrogates (neither takes them)."""
    if text.isascii():
        return text.replace("\0", "?") if "\0" in text else text
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def to_json(value: Any) -> str:
    """JSON, whatever is in it: what has no JSON form becomes its text."""
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError):
        return json.dumps(value, default=str)


def from_json(text: str) -> Any:
    return json.loads(text)


def to_address(text: str) -> Address:
    """Undo ``str(address)``; no checks, these octets were an Address before."""
    if text.startswith('"') or "@" not in text:
        return Address(text, "") if not text.startswith('"') else Address.parse(text)
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def lower_source(local: str, domain: str) -> str:
    """The form in which aliases are kept: ``local@domain`` with the local part in lower case."""
    return f"{local.lower()}@{domain}"
