"""Who may ask: an account by Basic (RFC 7617), through the login that SMTP and IMAP use; the administrator by a bearer token
(RFC 6750 §2.1) or over the Unix socket, as root or as the account of the server.

Secrets are only taken where nobody listens: TLS, loopback, a Unix socket, or where ``auth.plaintext_without_tls`` allows more.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from mta.directory.login import Attempt, Denied
from mta.model.errors import TemporaryFailure
from mta.wire.sasl import Credentials
from mta_hooks.http import Access, HttpAnswer

if TYPE_CHECKING:
    from mta.httpd.connection import Connection

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_INSECURE = "use https: a password or token is not taken over a connection that others can read\n"


@dataclass(slots=True)
class HttpSession:
    """The client of one request; fulfils mta_hooks.views.Session. Its own for each request: a proxy sends several users' on one
    connection."""

    id: str
    client_ip: str = ""
    client_port: int = 0
    local_ip: str = ""
    local_port: int = 0
    tls: bool = False
    protocol: str = "http"
    helo: str = ""
    user: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, link: "Connection") -> "HttpSession":
        return cls(link.id, link.client_ip, link.client_port, link.local_ip, link.local_port, link.tls)


def is_admin(link: "Connection", headers: Mapping[str, str]) -> bool:
    """By the socket, or by a token; a token over an open connection counts for nothing."""
    if link.peer_uid is not None and link.peer_uid in (0, os.geteuid()):
        return True
    token = link.ours.config.http.admin_token
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer" or not _secure(link):
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())


async def refusal(
    access: Access, link: "Connection", session: HttpSession, method: str, headers: Mapping[str, str], admin: bool
) -> HttpAnswer | None:
    """None: go on; ``session.user`` is then set where a login was asked for."""
    if access == "public":
        return None
    if access == "admin":
        return None if admin else _not_admin(link, session, headers)
    if method not in _SAFE and not _same_site(headers):
        return HttpAnswer.text("another site may not ask this in its visitor's name\n", 403)
    return await _log_in(link, session, headers)


def _not_admin(link: "Connection", session: HttpSession, headers: Mapping[str, str]) -> HttpAnswer:
    given = "authorization" in headers
    if given or link.peer_uid is not None:
        link.ours.log.warning("http.denied", session=session.id, client=session.client_ip, uid=link.peer_uid)
    if not _secure(link):
        return HttpAnswer.text(_INSECURE, 403)
    return HttpAnswer(401, b"administrators only\n", headers={"WWW-Authenticate": 'Bearer realm="mta"'})


async def _log_in(link: "Connection", session: HttpSession, headers: Mapping[str, str]) -> HttpAnswer | None:
    if not _secure(link):
        return HttpAnswer.text(_INSECURE, 403)
    credentials = _basic(headers.get("authorization", ""))
    if credentials is None:
        return _challenge("log in first\n")
    server = link.ours
    try:
        found = await server.login.log_in(Attempt("http", "BASIC", session), Credentials(*credentials))
    except TemporaryFailure as exc:
        server.log.warning("auth.unavailable", session=session.id, client=session.client_ip, detail=str(exc))
        return HttpAnswer(503, b"try again later\n", headers={"Retry-After": "30"})
    if not isinstance(found, Denied):
        session.user = found.user
        return None
    if found.temporary:
        return HttpAnswer(503, found.text().encode() + b"\n", headers={"Retry-After": "30"})
    link.failures += 1
    await server.clock.sleep(server.config.auth.failure_delay)
    if found.known:
        return HttpAnswer.text(f"{found.text()}\n", 403)
    return _challenge(f"{found.text()}\n")


def _challenge(text: str) -> HttpAnswer:
    return HttpAnswer(401, text.encode(), headers={"WWW-Authenticate": 'Basic realm="mta", charset="UTF-8"'})


def _basic(value: str) -> tuple[str, str] | None:
    scheme, _, coded = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(coded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _secure(link: "Connection") -> bool:
    """May a secret be said here?"""
    if link.tls or link.peer_uid is not None or link.ours.config.auth.plaintext_without_tls:
        return True
    return bool(link.client_ip) and ip_address(link.client_ip.partition("%")[0]).is_loopback


def _same_site(headers: Mapping[str, str]) -> bool:
    """A browser adds a remembered password to what other sites ask; it says then whose idea it was."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
