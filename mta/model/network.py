"""Client addresses: in one form, and whether they are of the public Internet (RFC 1918, RFC 4193, RFC 6598)."""
# SPDX-License-Identifier: Apache-2.0

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_PRIVATE: tuple[IPNetwork, ...] = (  # not is_private: that takes documentation networks too
    IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"), IPv4Network("100.64.0.0/10"),
    IPv4Network("0.0.0.0/8"), IPv6Network("fc00::/7"), IPv6Network("::/128"),
)  # fmt: skip


def parse_client(text: str) -> IPAddress | None:
    """Return the address without its zone, an IPv4-mapped one as IPv4; None for a Unix socket."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_private(address: IPAddress) -> bool:
    """True for private, shared, loopback and link-local addresses: nobody outside can say anything of them."""
    return address.is_loopback or address.is_link_local or any(address in network for network in _PRIVATE)
