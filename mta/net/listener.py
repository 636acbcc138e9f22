"""What a server socket is for. One ``ListenerSpec`` for each socket; the servers make their protocols from it."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from mta.config.sections import Listener
from mta.config.urls import parse_listen

Protocol = Literal["smtp", "submission", "lmtp", "imap", "pop3", "http"]
Network = IPv4Network | IPv6Network

_PROTOCOLS: dict[str, tuple[Protocol, bool]] = {
    "smtp": ("smtp", False),
    "submission": ("submission", False),
    "submissions": ("submission", True),
    "lmtp": ("lmtp", False),
    "imap": ("imap", False),
    "imaps": ("imap", True),
    "pop3": ("pop3", False),
    "pop3s": ("pop3", True),
    "http": ("http", False),
    "https": ("http", True),
}


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One listener.

    tls             implicit TLS: the app wraps the socket, so the session is secure from its first octet
    url             as configured, for the log
    host, port      "" is every address; of no meaning when ``path`` is given
    path            the Unix socket, or ""
    proxy_protocol  peers whose connections begin with a PROXY header
    hide            capabilities not to show, in upper case
    local           the socket of the sendmail command: SO_PEERCRED says who speaks; protocol "submission" without AUTH, origin "local"
    """

    protocol: Protocol
    tls: bool
    url: str
    host: str = ""
    port: int = 0
    path: str = ""
    proxy_protocol: tuple[Network, ...] = ()
    local: bool = False
    hide: frozenset[str] = frozenset()

    @classmethod
    def of(cls, listener: Listener) -> "ListenerSpec":
        """Raises ValueError for what the config's own checks refuse too."""
        end = parse_listen(listener.url)
        protocol, tls = _PROTOCOLS[end.scheme]
        peers = tuple(ip_network(text, strict=False) for text in listener.proxy_protocol)
        hide = frozenset(word.upper() for word in listener.hide)
        return cls(protocol, tls, listener.url, end.host, end.port, end.path, peers, hide=hide)

    @classmethod
    def sendmail(cls, path: str) -> "ListenerSpec":
        """The socket that ``mta-sendmail`` speaks to."""
        return cls("submission", tls=False, url=f"submission+unix:{path}", path=path, local=True)
