"""TLS for the listeners (RFC 8314, RFC 9325): one context, made by the supervisor before it forks.

So workers need no right to read the key, and share the keys of session tickets (RFC 5077): a client resumes on any of them.
Further pairs are chosen by the name that a client asks for (sni.py); alpn.py says who is turned away.
Left out: OCSP.
"""
# SPDX-License-Identifier: Apache-2.0

import datetime
import ipaddress
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from mta.config.load import LoadedConfig
from mta.config.sections import Tls
from mta.net.alpn import OFFERED
from mta.net.sni import ByName, Chooser
from mta.obs.log import Log

_VALID = datetime.timedelta(days=3650)
_MINIMUM = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class ServerContext(ssl.SSLContext):
    """A context that knows its certificate: ``end_point`` is the channel binding tls-server-end-point (RFC 5929 §4)."""

    end_point: bytes | None = None
    chooser: Chooser | None = None
    """Who is asked for each connection, in a worker."""


class Pair(NamedTuple):
    """Paths of certificate chain and key."""

    certificate: str
    key: str

    def stamp(self) -> tuple[int, ...]:
        """Changes when either file is replaced; () while one cannot be looked at."""
        try:
            found = [os.stat(name) for name in self]
        except OSError:
            return ()
        return tuple(value for s in found for value in (s.st_ino, s.st_mtime_ns, s.st_size))


def pair_of(loaded: LoadedConfig) -> Pair:
    """The files of the config, or those of the self-signed pair."""
    config = loaded.config
    if config.tls.certificate and config.tls.key:
        return Pair(config.tls.certificate, config.tls.key)
    folder = Path(config.data_dir) / "tls"
    return Pair(str(folder / "certificate.pem"), str(folder / "key.pem"))


def server_context(loaded: LoadedConfig, log: Log) -> ServerContext:
    """Make the context of this config; without a certificate a self-signed pair is made once in data_dir/tls, and said so.

    Raises ConfigError when the files cannot be used.
    """
    pair = pair_of(loaded)
    if loaded.config.tls.certificate is None:
        if not pair.stamp():
            make_self_signed(pair, loaded.config.hostname)
        log.warning("tls.self_signed", certificate=pair.certificate, fix="set tls.certificate and tls.key before real use")
    context = _context_of(loaded, pair, "tls")
    named: dict[str, ssl.SSLContext] = {}
    for i, one in enumerate(loaded.config.tls.certificates):
        further = Pair(one.certificate, one.key)
        found = _context_of(loaded, further, f"tls.certificates[{i}]")
        named |= dict.fromkeys(_names(further), found)
    if named:
        context.sni_callback = ByName(named)
    return context


def _context_of(loaded: LoadedConfig, pair: Pair, where: str) -> ServerContext:
    """Raises ConfigError naming a key below ``where``."""
    if (authority := loaded.config.tls.client_ca) is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(authority)
        except (OSError, ssl.SSLError) as exc:
            raise loaded.mistake(
                "tls.client_ca", f"{authority} has no certificates in PEM ({exc})", "name the CA's PEM file."
            ) from exc
    try:
        return context_with(loaded.config.tls, pair)
    except FileNotFoundError as exc:
        missing = pair.certificate if not os.path.exists(pair.certificate) else pair.key
        key = "certificate" if missing == pair.certificate else "key"
        raise loaded.mistake(f"{where}.{key}", f"{missing} does not exist") from exc
    except ssl.SSLError as exc:
        problem = f"{pair.certificate} and {pair.key} are no pair of certificate and key in PEM ({exc.reason or exc})"
        raise loaded.mistake(
            f"{where}.certificate", problem, "give the certificate first, then its chain, and its own key."
        ) from exc
    except (OSError, ValueError) as exc:
        problem, fix = f"cannot be read: {exc}", "check the mode, and that the key has no passphrase."
        raise loaded.mistake(f"{where}.key", problem, fix) from exc


def context_with(tls: Tls, pair: Pair) -> ServerContext:
    """A context for this pair, with the options of the config. Raises OSError (ssl.SSLError among them), ValueError."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM[tls.minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.set_alpn_protocols(OFFERED)
    context.load_cert_chain(pair.certificate, pair.key, password=_no_passphrase)
    context.end_point = _end_point(pair)
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _names(pair: Pair) -> list[str]:
    """Names that the certificate is for, in lower case."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in extension.value.get_values_for_type(x509.DNSName)]


def stamps_of(loaded: LoadedConfig) -> tuple[int, ...]:
    """Changes when a file of any pair is replaced; () while one cannot be looked at."""
    stamps = [pair_of(loaded).stamp(), *(Pair(one.certificate, one.key).stamp() for one in loaded.config.tls.certificates)]
    return tuple(value for stamp in stamps for value in stamp) if all(stamps) else ()


def _end_point(pair: Pair) -> bytes | None:
    """The certificate's hash by its own signature algorithm, SHA-256 in place of MD5 and SHA-1; None where that names no hash."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        return None
    return certificate.fingerprint(hashes.SHA256() if isinstance(algorithm, hashes.MD5 | hashes.SHA1) else algorithm)


# ---- what a session under TLS can say of itself


def client_certificate(session: ssl.SSLObject) -> bytes | None:
    """The client's certificate in DER, verified in the handshake; None when it sent none or nobody asked for one."""
    return session.getpeercert(True) if session.context.verify_mode != ssl.CERT_NONE else None


def binding_kinds(session: ssl.SSLObject | None) -> tuple[str, ...]:
    """Channel bindings that this session has data for."""
    if session is None:
        return ()
    kinds = ["tls-exporter"] if hasattr(session, "export_keying_material") else []
    if getattr(session.context, "end_point", None) is not None:
        kinds.append("tls-server-end-point")
    if session.version() == "TLSv1.2":
        kinds.append("tls-unique")
    return tuple(kinds)


def channel_binding(session: ssl.SSLObject, kind: str) -> bytes | None:
    """RFC 5929, RFC 9266. tls-exporter needs a Python whose ``ssl`` can export keying material; tls-unique is none in TLS 1.3."""
    if kind not in binding_kinds(session):
        return None
    if kind == "tls-server-end-point":
        found: bytes | None = session.context.end_point  # type: ignore[attr-defined]  # a ServerContext
        return found
    if kind == "tls-unique":
        return session.get_channel_binding("tls-unique")
    exported: bytes = session.export_keying_material(b"EXPORTER-Channel-Binding", 32)  # type: ignore[attr-defined]  # see above
    return exported


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")  # else OpenSSL would ask the terminal


def make_self_signed(pair: Pair, hostname: str) -> None:
    """Write a P-256 key and a certificate for ``hostname`` and localhost, valid ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names: list[x509.GeneralName] = [
        x509.DNSName(host) for host in dict.fromkeys((hostname, "localhost")) if not host.startswith("[")
    ]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    os.makedirs(os.path.dirname(pair.key), mode=0o700, exist_ok=True)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    _write(pair.key, pem, 0o600)
    _write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(name: str, octets: bytes, mode: int) -> None:
    temporary = f"{name}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as stream:
        os.fchmod(fd, mode)
        stream.write(octets)
        stream.flush()
        os.fsync(fd)  # else a power cut leaves an empty file under the final name, and the server cannot start
    os.replace(temporary, name)
