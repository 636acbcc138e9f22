"""EXTERNAL (RFC 4422 appendix A): the client's TLS certificate says who it is, and the response whom it acts as.

The certificate was verified against ``tls.client_ca`` in the handshake; ``auth.external`` says where in it the account's address is.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Literal

from mta.wire.sasl import Identified, Rejected
from mta.wire.sasl.exchange import text

Where = Literal["email", "common_name"]


class External:
    """With several addresses in the certificate the response must name one of them."""

    server_first = False

    def __init__(self, certificate: bytes | None, where: Where) -> None:
        self._certificate = certificate
        self._where = where

    def step(self, response: bytes | None) -> Identified | Rejected:
        wanted = text(response or b"").lower()
        names = addresses_of(self._certificate, self._where) if self._certificate is not None else []
        if not names:
            return Rejected(wanted, "no address in the certificate")
        if wanted:
            return Identified(wanted) if wanted in names else Rejected(wanted, "not in the certificate")
        return Identified(names[0]) if len(names) == 1 else Rejected("", "the certificate has several addresses: say which")


def addresses_of(certificate: bytes, where: Where) -> list[str]:
    """In lower case. ``email``: rfc822Name of the subject's alternative names, and emailAddress of the subject; what cannot be read
    has none."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        if where == "common_name":
            found = [str(a.value) for a in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        else:
            try:
                names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                found = list(names.get_values_for_type(x509.RFC822Name))
            except x509.ExtensionNotFound:
                found = []
            found += [str(a.value) for a in parsed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    except ValueError:
        return []
    return list(dict.fromkeys(name.lower() for name in found if "@" in name))
