"""An identity provider on this machine: its documents by HTTP, and tokens as it would sign them."""
# SPDX-License-Identifier: Apache-2.0

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """``up`` False: answers 503. ``active``: tokens that introspection knows, with their claims."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.up = True
        self.asked: list[str] = []
        self.active: dict[str, dict[str, object]] = {}
        self.url = ""
        self.names = ["rsa", "ec", "ed"]

    def keys(self) -> dict[str, object]:
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        found = {
            "rsa": {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(r.n), "e": number(r.e)},
            "ec": {"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(e.x.to_bytes(32, "big")), "y": b64(e.y.to_bytes(32, "big"))},
            "ed": {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(self.ed.public_key().public_bytes_raw())},
        }
        return {"keys": [*(found[name] for name in self.names), {"kty": "oct", "kid": "x", "k": "AAAA"}, {"kty": "RSA"}, "rubbish"]}

    def token(
        self, algorithm: str = "RS256", *, kid: str | None = "", header: dict[str, object] | None = None, **claims: object
    ) -> str:
        now = int(time.time())
        said = {"iss": self.url, "aud": "mail", "exp": now + 300, "iat": now, "email": "alice@example.test", **claims}
        named = {"RS256": "rsa", "PS256": "rsa", "ES256": "ec", "EdDSA": "ed"}.get(algorithm, "rsa") if kid == "" else kid
        head = {"alg": algorithm, "typ": "at+jwt", **({} if named is None else {"kid": named}), **(header or {})}
        signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps({k: v for k, v in said.items() if v is not None}).encode())}"
        return f"{signed}.{b64(self._sign(algorithm, signed.encode()))}"

    def _sign(self, algorithm: str, octets: bytes) -> bytes:
        if algorithm == "ES256":
            r, s = decode_dss_signature(self.ec.sign(octets, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if algorithm == "EdDSA":
            return self.ed.sign(octets)
        if algorithm == "PS256":
            return self.rsa.sign(octets, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return b"" if algorithm == "none" else self.rsa.sign(octets, padding.PKCS1v15(), hashes.SHA256())


class Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        issuer = self.issuer
        issuer.asked.append(self.path)
        if self.path == "/.well-known/openid-configuration":
            self.say({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})
        else:
            self.say(issuer.keys())

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.issuer.asked.append(self.headers["authorization"])
        claims = self.issuer.active.get(body["token"][0])
        self.say({"active": False} if claims is None else {"active": True, **claims})

    def say(self, found: object) -> None:
        octets = json.dumps(found).encode()
        self.send_response(200 if self.issuer.up else 503)
        self.send_header("content-length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def issuer():
    found = Issuer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"issuer": found}))
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
