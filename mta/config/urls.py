"""Where to listen, as an operator writes it: ``smtp://127.0.0.1:25``, ``imaps://[::1]``, ``lmtp+unix:/run/mta/lmtp.sock``.

Hosts are names, IPv4 addresses or IPv6 addresses in brackets; an absent host or ``*`` is every address of the machine.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import NamedTuple

DEFAULT_PORTS = {
    "smtp": 25,
    "submission": 587,
    "submissions": 465,
    "lmtp": 24,
    "imap": 143,
    "imaps": 993,
    "pop3": 110,
    "pop3s": 995,
    "http": 80,
    "https": 443,
}
FORM = "write scheme://host:port or scheme+unix:/absolute/path"


class Endpoint(NamedTuple):
    """``host`` "" is every address; ``path`` is not "" for Unix sockets only, whose port is 0."""

    scheme: str
    host: str
    port: int
    path: str


def parse_listen(url: str) -> Endpoint:
    """Take a listen URL apart. Raises ValueError with a reason fit for the operator."""
    scheme, colon, rest = url.partition(":")
    scheme, _, kind = scheme.lower().partition("+")
    if not colon or not rest:
        raise ValueError(f"{url!r} is no URL: {FORM}")
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"scheme {scheme!r} is unknown; known are {' '.join(DEFAULT_PORTS)}")
    if kind == "unix":
        return Endpoint(scheme, "", 0, _path(url, rest))
    if kind:
        raise ValueError(f"{scheme}+{kind} is unknown: {FORM}")
    if not rest.startswith("//"):
        raise ValueError(f"{url!r} lacks // behind {scheme}: {FORM}")
    authority = rest[2:].removesuffix("/")
    if authority.startswith("unix:"):
        return Endpoint(scheme, "", 0, _path(url, authority[5:]))
    if any(c in authority for c in "/?#@"):
        raise ValueError(f"{url!r} has something behind or before host:port: {FORM}")
    host, port = _host_port(authority)
    return Endpoint(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, "")


def _path(url: str, path: str) -> str:
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path.startswith("/"):
        raise ValueError(f"{url!r}: the path of a Unix socket must be absolute")
    return path


def _host_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{authority!r}: write an IPv6 address as [::1]:25")
        digits = rest[1:]
    else:
        host, _, digits = authority.partition(":")
        if ":" in digits:
            raise ValueError(f"{authority!r}: write an IPv6 address in brackets, [::1]:25")
    host = "" if host == "*" else host
    if not digits:
        return host, None
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 65535):
        raise ValueError(f"port {digits!r} is not a number from 0 to 65535")
    return host, int(digits)
