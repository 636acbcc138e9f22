"""Does a chain of certificates fit TLSA records (RFC 6698 §2.1, RFC 7671 §5, RFC 7672 §3)? Without I/O; the caller has the time.

DANE-EE (3): the server's certificate or key is in a record; its names and dates do not matter (RFC 7672 §3.1.1). DANE-TA (2): the chain
leads, by signatures, to a certificate that a record names; dates and the name of the server count (RFC 7672 §3.1.2). The anchor
has to come with the chain, or to be in the record as a whole certificate or key. PKIX usages 0 and 1 are no usable records.
"""
# SPDX-License-Identifier: Apache-2.0

import datetime
import hashlib
from collections.abc import Collection, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from mta.model.tls import Tlsa

MAX_CHAIN = 10  # certificates looked at: a peer may send any number

_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}


def verify_chain(
    chain: Sequence[bytes], tlsa: Sequence[Tlsa], names: Collection[str], now: datetime.datetime
) -> tuple[str, str] | None:
    """None when the chain (DER, the server's certificate first) fits a record; otherwise (RFC 8460 §4.3 result type, in words)."""
    records = _strongest([record for record in tlsa if record.usable])
    try:
        certificates = [x509.load_der_x509_certificate(octets) for octets in chain[:MAX_CHAIN]]
    except ValueError:
        return "validation-failure", "the server's certificate cannot be read"
    if not certificates:
        return "validation-failure", "the server shows no certificate"
    if any(record.usage == 3 and _fits(record, certificates[0]) for record in records):
        return None
    anchors = [record for record in records if record.usage == 2]
    if not anchors:
        return "validation-failure", "the server's certificate is in none of its TLSA records"
    if (path := _path(certificates, anchors)) is None:
        return "validation-failure", "no TLSA record speaks for the server's certificate"
    if any(not each.not_valid_before_utc <= now <= each.not_valid_after_utc for each in path):
        return "certificate-expired", "a certificate of the server has expired, or is not valid yet"
    if not any(is_named(path[0], name) for name in names):
        return "certificate-host-mismatch", "the server's certificate is for another name"
    return None


def _strongest(records: Sequence[Tlsa]) -> list[Tlsa]:
    """RFC 7671 §9: of each usage and selector the best digest that is published; whole certificates and keys as well."""
    best: dict[tuple[int, int], int] = {}
    for record in records:
        kind = record.usage, record.selector
        best[kind] = max(best.get(kind, 0), record.matching)
    return [record for record in records if record.matching in (0, best[record.usage, record.selector])]


def _fits(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hash = _HASHES.get(record.matching)
    return record.data == (octets if hash is None else hash(octets).digest())


def _path(certificates: Sequence[x509.Certificate], anchors: Sequence[Tlsa]) -> list[x509.Certificate] | None:
    """The certificates from the server's to the one that a record names, or whose issuer it names."""
    path = [certificates[0]]
    others = list(certificates[1:])
    whole = [found for record in anchors if record.matching == 0 and (found := _certificate(record)) is not None]
    keys = [key for record in anchors if record.matching == 0 and (key := _key(record)) is not None]
    while True:
        last = path[-1]
        if any(_fits(record, last) for record in anchors) or any(_is_signed_by(last, key) for key in keys):
            return path
        issuer = next((each for each in (*whole, *others) if _is_authority(each) and _is_issued_by(last, each)), None)
        if issuer is None:
            return None
        path.append(issuer)
        others = [each for each in others if each is not issuer]
        if len(path) > MAX_CHAIN:
            return None


def _certificate(record: Tlsa) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(record.data) if record.selector == 0 else None
    except ValueError:
        return None


def _key(record: Tlsa) -> CertificateIssuerPublicKeyTypes | None:
    try:
        return load_der_public_key(record.data) if record.selector == 1 else None  # type: ignore[return-value]
    except (ValueError, UnsupportedAlgorithm):
        return None


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_signed_by(certificate: x509.Certificate, key: CertificateIssuerPublicKeyTypes) -> bool:
    """By a key that comes without a certificate of its own (TLSA 2 1 0)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

    algorithm = certificate.signature_hash_algorithm
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            parameters = certificate.signature_algorithm_parameters
            key.verify(signature, signed, parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def is_named(certificate: x509.Certificate, name: str) -> bool:
    """A DNS name in subjectAltName, the leftmost label of which may be "*" (RFC 9525 §6.3); without any, the common name."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    except ValueError:
        return False
    wanted = name.lower().rstrip(".")
    rest = wanted.partition(".")[2]
    return any(given == wanted or (given.startswith("*.") and rest and given[2:] == rest) for given in map(str.lower, found))
