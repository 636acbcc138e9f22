"""Values on their way into and out of columns: text that every database takes, JSON, addresses."""
# SPDX-License-Identifier: Apache-2.0

import json
from typing import Any

import msgspec

from mta.model.address import Address
from mta.model.delivery import Trouble
from mta.model.message import Flags, Placement

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


def to_trouble(text: str | None) -> Trouble | None:
    """A Trouble as ``to_json`` wrote it; keys that a newer version wrote are passed over."""
    return None if text is None else msgspec.json.decode(text, type=Trouble)


def from_placement(placement: Placement | None) -> str | None:
    if placement is None:
        return None
    fields = {"folder": placement.folder, "flags": int(placement.flags), "keywords": sorted(placement.keywords)}
    return to_json({**fields, "copies": list(placement.copies), "drop": placement.drop})


def to_placement(text: str | None) -> Placement | None:
    if text is None:
        return None
    value = from_json(text)
    flags, words = Flags(value["flags"]), frozenset(value["keywords"])
    return Placement(value["folder"], flags, words, tuple(value["copies"]), value["drop"])


def to_address(text: str) -> Address:
    """Undo ``str(address)``; no checks, these octets were an Address before."""
    if text.startswith('"') or "@" not in text:
        return Address(text, "") if not text.startswith('"') else Address.parse(text)
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def lower_source(local: str, domain: str) -> str:
    """The form in which aliases are kept: ``local@domain`` with the local part in lower case."""
    return f"{local.lower()}@{domain}"
