"""Look-ups of one check, counted; and what they say of the client's addresses and names (RFC 7208 §4.6.4, §5.5)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TypeVar

from mta.model.network import IPAddress
from mta_hooks.services import Dns, DnsError
from mta_spf.query import Limits
from mta_spf.record import Result

T = TypeVar("T")


class Stop(Exception):
    """temperror or permerror: the evaluation ends, from whatever depth."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result: Result = result
        self.reason = reason


class LookUps:
    """Everything raises Stop at a limit; when DNS does not answer, too, but for names of the client."""

    def __init__(self, dns: Dns, client: IPAddress, limits: Limits) -> None:
        self.dns = dns
        self.count = 0
        self._client, self._limits = client, limits
        self._address, self._is_ip4 = int(client), client.version == 4
        self._terms = self._voids = 0
        self._names: list[str] | None = None
        self._valid: dict[str, bool] = {}

    async def ask(self, look_up: Callable[[str], Awaitable[list[T]]], name: str) -> list[T]:
        self._count_look_up()
        try:
            return await look_up(name)
        except DnsError:
            raise Stop("temperror", f"DNS does not answer for {name}") from None

    async def addresses(self, name: str) -> list[str]:
        """Addresses of the client's family."""
        return await self.ask(self.dns.a if self._is_ip4 else self.dns.aaaa, name)

    def is_client_among(self, addresses: Sequence[str], prefix4: int = 32, prefix6: int = 128) -> bool:
        """True when one is the client's, up to the length of the prefix."""
        for text in addresses:
            try:
                address = int(IPv4Address(text) if self._is_ip4 else IPv6Address(text))
            except AddressValueError:
                continue
            if self.is_client_in(address, prefix4, prefix6):
                return True
        return False

    def is_client_in(self, network: int, prefix4: int, prefix6: int) -> bool:
        """``network`` is of the client's family."""
        return (self._address ^ network) >> (32 - prefix4 if self._is_ip4 else 128 - prefix6) == 0

    async def client_names(self) -> list[str]:
        """What the client's PTR records say; nothing is true of it yet. Without an answer: none (RFC 7208 §5.5)."""
        if self._names is None:
            self._count_look_up()
            try:
                found = await self.dns.ptr(str(self._client))
            except DnsError:
                found = []
            self._names = [name.removesuffix(".").lower() for name in found[: self._limits.names]]
        return self._names

    async def is_client_name(self, name: str) -> bool:
        """True when the name has the client's address; one that DNS does not answer for has not (RFC 7208 §5.5)."""
        if name not in self._valid:
            self._count_look_up()
            try:
                addresses = await (self.dns.a if self._is_ip4 else self.dns.aaaa)(name)
            except DnsError:
                addresses = []
            self._valid[name] = self.is_client_among(addresses)
        return self._valid[name]

    def count_term(self) -> None:
        self._terms += 1
        if self._terms > self._limits.terms:
            raise Stop("permerror", f"more than {self._limits.terms} terms ask DNS")

    def count_void(self, found: Sequence[object]) -> None:
        if not found:
            self._voids += 1
            if self._voids > self._limits.void:
                raise Stop("permerror", f"more than {self._limits.void} terms ask DNS in vain")

    def _count_look_up(self) -> None:
        self.count += 1
        if self.count > self._limits.look_ups:
            raise Stop("permerror", f"more than {self._limits.look_ups} look-ups")
