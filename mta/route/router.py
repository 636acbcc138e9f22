"""The next hop of a recipient: the ``route`` hook, config ``routes`` and ``routes_by_sender``, the smarthost, the MX of its domain, in this order.

URLs: ``smtp://host:port`` ``smtps://host:port`` ``lmtp://host:port`` ``lmtp+unix:/path`` ``smtp+unix:/path`` ``pipe:NAME``,
``mx:DOMAIN`` for the mail servers of another domain, or ``mx`` for those of the recipient's; they are read once, when the router is made.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from mta.config.sections import Config, HopLogin, Relay
from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.domain import normalise
from mta.model.errors import ConfigError
from mta.model.pipe import NAME
from mta.route.by_sender import BySender

FORM = "write smtp://host:port, smtps://host:port, lmtp://host:port, lmtp+unix:/path, smtp+unix:/path, pipe:NAME, mx:DOMAIN or mx"
MX = Route("smtp")

_SCHEMES: dict[str, tuple[Literal["smtp", "lmtp"], int]] = {"smtp": ("smtp", 25), "smtps": ("smtp", 465), "lmtp": ("lmtp", 24)}


class First(Protocol):
    async def first(self, **arguments: Any) -> Any: ...


class RouteHooks(Protocol):
    @property
    def route(self) -> First | None: ...


class Router:
    """Raises ConfigError when a route or the smarthost of the config cannot be used."""

    def __init__(self, config: Config, hooks: RouteHooks) -> None:
        self._hooks = hooks
        self._logins = logins = config.relay.credentials
        self._routes = {normalise(domain): _read(f"routes.{domain}", url, logins) for domain, url in config.routes.items()}
        senders = config.routes_by_sender.items()
        self._by_sender = BySender({sender: _read(f"routes_by_sender.{sender}", url, logins) for sender, url in senders})
        self._default = with_login(_smarthost(config.relay), logins)

    @property
    def asks_hooks(self) -> bool:
        """Does ``route`` have to be awaited? Otherwise ``configured`` says all."""
        return self._hooks.route is not None

    def configured(self, domain: str, sender: Address | None = None) -> Route:
        """What the config says."""
        found = self._routes.get(domain)
        if found is None and self._by_sender:
            found = self._by_sender.find(sender)
        return self._default if found is None else found

    def read(self, url: str) -> Route:
        """A next hop as config ``routes`` writes it, with its login. Raises ValueError with a reason for the operator."""
        return with_login(parse_route(url), self._logins)

    async def route(self, sender: Address | None, recipient: Address) -> Route:
        """Raises TemporaryFailure when a hook failed."""
        if (plan := self._hooks.route) is not None:
            answer = await plan.first(sender=sender, recipient=recipient)
            if isinstance(answer, Route):
                return answer
        return self.configured(recipient.domain, sender)


def _read(key: str, url: str, logins: Mapping[str, HopLogin]) -> Route:
    try:
        return with_login(parse_route(url), logins)
    except ValueError as exc:
        raise ConfigError("config", key, str(exc), f"{FORM}.") from exc


def with_login(route: Route, logins: Mapping[str, HopLogin]) -> Route:
    """Config ``relay.credentials`` by the next hop's name, or "name:port"; what the route has already stays."""
    if route.credentials is not None or route.host is None:
        return route
    login = logins.get(f"{route.host}:{route.port}") or logins.get(route.host)
    if login is None:
        return route
    return replace(route, credentials=(login.username, login.password or ""), token_file=login.token_file or "")


def parse_route(url: str) -> Route:
    """Raises ValueError with a reason for the operator."""
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme == "mx" and not rest:
        return MX
    if scheme == "mx":
        host, port = _host_port(url, rest, 0)
        if rest.startswith("["):
            raise ValueError(f"{url!r}: an address has no MX; write smtp://[address]:port")
        return Route("smtp", host=host, port=port, mx=True)
    if scheme == "pipe":
        if not NAME.match(rest):
            raise ValueError(f"{url!r}: a program in hooks_dir/pipe.d is named as pipe:NAME, without folder and arguments")
        return Route("pipe", path=rest, tls="none")
    if scheme in ("lmtp+unix", "smtp+unix"):
        path = rest.removeprefix("//") if rest.startswith("///") else rest
        if not path.startswith("/"):
            raise ValueError(f"{url!r}: the path of a Unix socket must be absolute")
        return Route("lmtp" if scheme == "lmtp+unix" else "smtp", path=path, tls="none")
    if scheme not in _SCHEMES or not rest.startswith("//"):
        raise ValueError(f"{url!r} is no next hop")
    transport, default = _SCHEMES[scheme]
    host, port = _host_port(url, rest[2:].removesuffix("/"), default)
    return Route(transport, host=host, port=port, tls="implicit" if scheme == "smtps" else "may")


def _host_port(url: str, authority: str, default: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        digits = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{url!r}: write an IPv6 address as [::1]:25")
    else:
        host, _, digits = authority.partition(":")
        host = normalise(host)
    if not host or "@" in authority or "/" in authority:
        raise ValueError(f"{url!r} is no next hop")
    if digits and not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise ValueError(f"{url!r}: port must be 1 to 65535")
    return host, int(digits) if digits else default


def _smarthost(relay: Relay) -> Route:
    if relay.smarthost is None:
        return MX
    try:
        route = parse_route(relay.smarthost)
    except ValueError as exc:
        raise ConfigError("config", "relay.smarthost", str(exc), "write smtp://host:port, smtps://host:port or mx:domain.") from exc
    if relay.username is not None and relay.password is None:
        raise ConfigError("config", "relay.password", "is missing, but relay.username is given", "give both or none.")
    credentials = (relay.username, relay.password) if relay.username is not None and relay.password is not None else None
    tls = route.tls if route.tls == "implicit" or route.path else relay.tls
    return replace(route, tls=tls, credentials=credentials)
