"""Verification (RFC 6376 §6.1) over values: no DNS, no clock; runs in a thread."""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from mta_dkim.canonical import BodyHash, Form, RawField, canonical_header, canonical_signature, split_message
from mta_dkim.keyrecord import KeyRecord, NoKey, PublicKey, choose_key, key_name
from mta_dkim.signature import CLOCK_SKEW, Signature
from mta_hooks import AuthResult, Message

Answer = list[bytes] | str
"""TXT records of a name, or why there was no answer."""


def verify(message: Message, signatures: Sequence[Signature], answers: Mapping[str, Answer], now: float) -> list[AuthResult]:
    """Return one result for each signature, in order."""
    checked: list[tuple[Signature, AuthResult | KeyRecord]] = [(s, _prepare(s, answers, now)) for s in signatures]
    forms: set[Form] = {s.body_form for s, key in checked if isinstance(key, KeyRecord)}
    header, body = split_message(message.chunks())
    digests = _hash_body(body, forms) if forms else {}
    return [key if isinstance(key, AuthResult) else _check(s, key, header, digests) for s, key in checked]


def _prepare(signature: Signature, answers: Mapping[str, Answer], now: float) -> AuthResult | KeyRecord:
    """The key to check with, or the result when there is nothing to check."""
    if signature.problem:
        return _result(signature, "permerror", signature.problem)
    if signature.expires is not None and signature.expires < now - CLOCK_SKEW:
        return _result(signature, "fail", "signature has expired")
    if signature.signed_at is not None and signature.signed_at > now + CLOCK_SKEW:
        return _result(signature, "fail", "signature is from the future")
    if signature.expires is not None and signature.signed_at is not None and signature.expires < signature.signed_at:
        return _result(signature, "permerror", "x= is before t=")
    answer = answers.get(key_name(signature), [])
    if isinstance(answer, str):
        return _result(signature, "temperror", "key cannot be asked for")
    try:
        return choose_key(answer, signature)
    except NoKey as exc:
        return _result(signature, "permerror", str(exc))


def _hash_body(body: Iterable[bytes], forms: set[Form]) -> dict[Form, tuple[bytes, int]]:
    hashes = {form: BodyHash(form) for form in forms}
    for piece in body:
        for each in hashes.values():
            each.feed(piece)
    return {form: (each.finish(), each.size) for form, each in hashes.items()}


def _check(
    signature: Signature, record: KeyRecord, header: Sequence[RawField], digests: Mapping[Form, tuple[bytes, int]]
) -> AuthResult:
    digest, size = digests[signature.body_form]
    if signature.length is not None and signature.length != size:
        if signature.length > size:
            return _result(signature, "permerror", "l= is longer than the body")
        return _result(signature, "policy", "only part of the body is signed")  # anyone could have added the rest
    if not hmac.compare_digest(digest, signature.body_hash):
        return _result(signature, "fail", "body hash did not verify")
    authors = sum(name.rstrip(b" \t").lower() == b"from" for name, _ in header)
    if authors > signature.names.count(b"from"):
        return _result(signature, "fail", "a From field was added")
    data = canonical_header(signature.header_form, header, signature.names) + canonical_signature(
        signature.header_form, signature.field
    )
    if not _is_good(record.key, signature.value, data):
        return _result(signature, "fail", "signature did not verify")
    return _result(signature, "pass")


def _is_good(key: PublicKey, value: bytes, data: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(value, hashlib.sha256(data).digest())  # RFC 8463 §3: over the hash
        else:
            key.verify(value, data, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _result(signature: Signature, result: str, reason: str = "") -> AuthResult:
    named = (("header.d", signature.domain), ("header.s", signature.selector), ("header.b", signature.prefix))
    return AuthResult("dkim", result, reason, tuple((name, value) for name, value in named if value))
