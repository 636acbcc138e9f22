"""Keys, once for the run."""
# SPDX-License-Identifier: Apache-2.0

import base64
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class Pair:
    pem: bytes
    traditional: bytes
    path: str
    record: bytes


def write(folder: Path, name: str, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Pair:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(pem)
    path.chmod(0o600)
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kind = b"rsa"
        traditional = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        kind = b"ed25519"
        traditional = b""
    return Pair(pem, traditional, str(path), b"v=DKIM1; k=%b; p=%b" % (kind, base64.b64encode(public)))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def rsa_pair(folder: Path) -> Pair:
    return write(folder, "rsa", rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def ed_pair(folder: Path) -> Pair:
    return write(folder, "ed", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def small_record() -> bytes:
    """A key of 768 bits, which nobody makes any more."""
    public = rsa.RSAPublicNumbers(65537, (1 << 767) | 12345678901).public_key()
    return b"p=" + base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
