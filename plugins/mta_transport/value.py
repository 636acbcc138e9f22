"""``transport:nexthop`` of Postfix's transport(5), and our URLs, read into a route or a refusal, without a server."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mta.model.domain import normalise
from mta_hooks import Route

_SERVICES = {"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465, "lmtp": 24}
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_ENHANCED = re.compile(r"([45]\.\d{1,3}\.\d{1,3})\s*(.*)\Z", re.DOTALL)
_TEXT = re.compile(r"[^ -~]+")


class BadTransport(ValueError):
    """What stands there is no transport; the text says why."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """``error:``, ``retry:`` and ``discard:``."""

    kind: Literal["error", "retry", "discard"]
    enhanced: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """``name``: as it was written, for passwords."""

    route: Route
    name: str = ""


def read_transport(value: str, names: Mapping[str, str], *, depth: int = 0) -> Hop | Refusal:
    """Raises BadTransport."""
    scheme, colon, rest = value.strip().partition(":")
    scheme = scheme.strip().lower() or "smtp"
    rest = rest.strip()
    if not colon:
        raise BadTransport(f"{value[:80]!r}: expected transport:nexthop")
    if scheme in names and not depth:
        wanted = names[scheme]
        return read_transport(f"{wanted}{rest}" if wanted.endswith(":") else wanted, names, depth=1)
    if rest.startswith("//") and scheme in ("smtp", "smtps", "lmtp"):
        hop = _inet("lmtp" if scheme == "lmtp" else "smtp", _bracketed(rest[2:].rstrip("/")))
        return replace(hop, route=replace(hop.route, tls="implicit")) if scheme == "smtps" else hop
    match scheme:
        case "error" | "retry":
            found = _ENHANCED.match(rest)
            default = "5.0.0" if scheme == "error" else "4.0.0"
            enhanced, text = (found[1], found[2]) if found else (default, rest)
            if enhanced[0] != default[0]:
                enhanced = default
            return Refusal(scheme, enhanced, _TEXT.sub(" ", text)[:500] or "mail transport unavailable")
        case "discard":
            return Refusal("discard", text=_TEXT.sub(" ", rest)[:500])
        case "smtp" | "esmtp" | "relay" | "smtps":
            if rest.startswith("unix:"):
                return _unix("smtp", rest)
            hop = _inet("smtp", rest.removeprefix("inet:"))
            return replace(hop, route=replace(hop.route, tls="implicit")) if scheme == "smtps" else hop
        case "lmtp":
            return _unix("lmtp", rest) if rest.startswith("unix:") else _inet("lmtp", rest.removeprefix("inet:"))
        case "lmtp+unix":
            return _unix("lmtp", f"unix:{rest.removeprefix('//')}")
        case "local" | "virtual":
            return Hop(Route("local"))
        case "pipe":
            if not _PROGRAM.match(rest):
                raise BadTransport(f"{rest[:80]!r}: a program is named as pipe:name, without folder and arguments")
            return Hop(Route("pipe", path=rest, tls="none"))
    raise BadTransport(f"{scheme[:40]!r} is no transport here: name it in config names")


def read_relay(value: str) -> Hop:
    """``[host]:port`` or ``domain:port`` (relayhost). Raises BadTransport."""
    hop = _inet("smtp", value.strip())
    if hop.route.host is None:
        raise BadTransport("expected [host]:port")
    return hop


def _unix(transport: Literal["smtp", "lmtp"], rest: str) -> Hop:
    path = rest.removeprefix("unix:").strip()
    if not path.startswith("/"):
        raise BadTransport(f"{path[:80]!r}: the path of a Unix socket must be absolute here")
    return Hop(Route(transport, path=path, tls="none"))


def _bracketed(authority: str) -> str:
    """The host of a URL is the host itself, never a domain with mail servers."""
    if authority.startswith("["):
        return authority
    host, colon, port = authority.partition(":")
    return f"[{host}]{colon}{port}"


def _inet(transport: Literal["smtp", "lmtp"], text: str) -> Hop:
    if not text:
        return Hop(Route(transport))
    if text.startswith("["):
        inside, bracket, behind = text[1:].partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise BadTransport(f"{text[:80]!r}: expected [host]:port")
        host, port, mx = inside.lower().removeprefix("ipv6:"), behind[1:], False
    else:
        host, _, port = text.partition(":")
        mx = transport == "smtp"
    if not host:
        raise BadTransport(f"{text[:80]!r} names no host")
    try:
        host = host if ":" in host else normalise(host)
    except ValueError as exc:
        raise BadTransport(f"{text[:80]!r}: {exc}") from None
    return Hop(Route(transport, host=host, port=_port(port), mx=mx), text.lower())


def _port(text: str) -> int:
    if not text:
        return 0
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    if text.lower() not in _SERVICES:
        raise BadTransport(f"{text[:40]!r} is no port")
    return _SERVICES[text.lower()]
