"""DKIM-Signature fields as values (RFC 6376 §3.5); what is wrong with one is said in ``problem``."""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dkim.util import InvalidTagValueList, parse_tag_value

from mta.model.domain import normalise
from mta_dkim.canonical import Form, RawField, split_message
from mta_hooks import Message

MAX_SIGNATURES = 10
"""Of one message; further ones are not looked at."""
MAX_FIELD = 16 * 1024
MAX_NAMES = 1000
CLOCK_SKEW = 3600.0
"""Seconds that clocks of others may be wrong."""

_SPACE = re.compile(rb"\s+")
_NUMBER = re.compile(rb"\d{1,12}\Z")
_SELECTOR = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\Z")
_FORMS: Mapping[bytes, Form] = {b"simple": "simple", b"relaxed": "relaxed"}


@dataclass(frozen=True, slots=True)
class Signature:
    """``problem`` is not "": a permerror, and only what could be read is set.

    names     lower-case names of h=, in order
    length    l=, or None
    identity  domain of i=
    """

    field: RawField
    problem: str = ""
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    header_form: Form = "simple"
    body_form: Form = "simple"
    names: tuple[bytes, ...] = ()
    body_hash: bytes = b""
    value: bytes = b""
    length: int | None = None
    signed_at: int | None = None
    expires: int | None = None
    identity: str = ""

    @property
    def prefix(self) -> str:
        """Enough of b= to tell signatures apart (RFC 8601 §2.7.1, RFC 6008)."""
        return base64.b64encode(self.value).decode("ascii")[:8]


class _Wrong(ValueError):
    """What is wrong, in words for the Authentication-Results field."""


def find_signatures(message: Message) -> list[Signature]:
    """Return the signatures from the top, at most MAX_SIGNATURES."""
    header, _ = split_message(message.chunks())
    found = [field for field in header if field[0].rstrip(b" \t").lower() == b"dkim-signature"]
    return [read_signature(field) for field in found[:MAX_SIGNATURES]]


def read_signature(field: RawField) -> Signature:
    """Never raises."""
    if len(field[1]) > MAX_FIELD:
        return Signature(field, "signature field is too long")
    try:
        tags = parse_tag_value(field[1])
    except InvalidTagValueList:
        return Signature(field, "malformed signature")
    values: dict[str, object] = {}
    try:
        _read(tags, values)
    except _Wrong as exc:
        return Signature(field, str(exc), **values)  # type: ignore[arg-type]  # keys and types as _read sets them
    return Signature(field, **values)  # type: ignore[arg-type]


def _read(tags: Mapping[bytes, bytes], values: dict[str, object]) -> None:
    """Set ``values`` as far as possible; identity first, so that a refused signature is still named. Raises _Wrong."""
    try:
        values["domain"] = normalise(_need(tags, b"d").decode("utf-8"))
    except ValueError as exc:
        raise _Wrong("malformed d=") from exc
    selector = _need(tags, b"s").decode("ascii", "replace")
    if not _SELECTOR.match(selector) or len(selector) > 200:
        raise _Wrong("malformed s=")
    values["selector"] = selector
    values["value"] = _octets(tags, b"b")
    if _need(tags, b"v") != b"1":
        raise _Wrong("unknown version")
    algorithm = _need(tags, b"a").decode("ascii", "replace").lower()
    if algorithm == "rsa-sha1":
        raise _Wrong("rsa-sha1 is obsolete")  # RFC 8301 §3.1: must not verify
    if algorithm not in ("rsa-sha256", "ed25519-sha256"):
        raise _Wrong("unknown algorithm")
    values["algorithm"] = algorithm
    header_form, _, body_form = tags.get(b"c", b"simple/simple").lower().partition(b"/")
    try:
        values["header_form"], values["body_form"] = _FORMS[header_form], _FORMS[body_form or b"simple"]
    except KeyError as exc:
        raise _Wrong("unknown canonicalization") from exc
    names = tuple(name.strip().lower() for name in _need(tags, b"h").split(b":"))
    if b"from" not in names or len(names) > MAX_NAMES:
        raise _Wrong("From is not signed" if b"from" not in names else "too many names in h=")
    values["names"] = names
    values["body_hash"] = _octets(tags, b"bh")
    if b"dns/txt" not in [method.strip().lower() for method in tags.get(b"q", b"dns/txt").split(b":")]:
        raise _Wrong("unknown query method")
    values["length"], values["signed_at"], values["expires"] = (_number(tags, tag) for tag in (b"l", b"t", b"x"))
    values["identity"] = _identity(tags, str(values["domain"]))


def _identity(tags: Mapping[bytes, bytes], domain: str) -> str:
    if b"i" not in tags:
        return domain
    try:
        identity = normalise(tags[b"i"].rpartition(b"@")[2].decode("utf-8"))
    except ValueError as exc:
        raise _Wrong("malformed i=") from exc
    if identity != domain and not identity.endswith(f".{domain}"):
        raise _Wrong("i= is not within d=")
    return identity


def _need(tags: Mapping[bytes, bytes], tag: bytes) -> bytes:
    if not (value := tags.get(tag)):
        raise _Wrong(f"{tag.decode('ascii')}= missing")
    return value


def _octets(tags: Mapping[bytes, bytes], tag: bytes) -> bytes:
    try:
        return base64.b64decode(_SPACE.sub(b"", _need(tags, tag)), validate=True)
    except binascii.Error as exc:
        raise _Wrong(f"malformed {tag.decode('ascii')}=") from exc


def _number(tags: Mapping[bytes, bytes], tag: bytes) -> int | None:
    if tag not in tags:
        return None
    if not _NUMBER.match(tags[tag]):
        raise _Wrong(f"malformed {tag.decode('ascii')}=")
    return int(tags[tag])
