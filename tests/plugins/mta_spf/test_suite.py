"""The official test suites, all of them, over their own zones: of RFC 7208 with the preferred result wherever there are several;
of RFC 4408, its predecessor, with any that it allows. Data of openspf.org, under the licences beside them.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from mta.model.address import Address
from mta.model.network import parse_client
from mta_hooks.services import DnsError
from mta_spf.check import check
from mta_spf.query import make_query

HERE = Path(__file__).parent


class ZoneDns:
    """A Dns out of ``zonedata``: SPF stands for TXT where a name has no TXT; a bare TIMEOUT is for types without records."""

    def __init__(self, zones: dict[str, list[Any]]) -> None:
        self._zones = {name.lower(): records for name, records in zones.items()}

    def _find(self, kind: str, name: str, chain: int = 8) -> list[Any]:
        if any(len(label) > 63 for label in name.split(".")) or chain == 0:
            raise DnsError(name)
        records = self._zones.get(name.lower(), [])
        if any(isinstance(r, dict) and r.get(kind) == "TIMEOUT" for r in records):
            raise DnsError(name)
        pairs = [(k, v) for record in records if isinstance(record, dict) for k, v in record.items()]
        for k, v in pairs:
            if k == "CNAME":
                return self._find(kind, v, chain - 1)
        found = [v for k, v in pairs if k == kind and v != "NONE"]
        if kind == "TXT" and not any(k == "TXT" for k, _ in pairs):
            found = [v for k, v in pairs if k == "SPF"]
        if not found and "TIMEOUT" in records:
            raise DnsError(name)
        return found

    async def a(self, name: str) -> list[str]:
        return self._find("A", name)

    async def aaaa(self, name: str) -> list[str]:
        return self._find("AAAA", name)

    async def mx(self, name: str) -> list[tuple[int, str]]:
        return [(preference, host) for preference, host in self._find("MX", name)]

    async def txt(self, name: str) -> list[bytes]:
        found = self._find("TXT", name)
        return [("".join(text) if isinstance(text, list) else text).encode("utf-8") for text in found]

    async def ptr(self, address: str) -> list[str]:
        return self._find("PTR", ip_address(address).reverse_pointer)


def cases(suite: str) -> list[Any]:
    with (HERE / suite).open("rb") as file:
        return [
            pytest.param(scenario["zonedata"], case, id=name)
            for scenario in yaml.load_all(file, yaml.CSafeLoader)  # ten times as fast
            for name, case in scenario["tests"].items()
        ]


RFC7208 = cases("rfc7208-tests.yml")
RFC4408 = cases("rfc4408-tests.yml")


def evaluate(zones: dict[str, Any], case: dict[str, Any]) -> tuple[str, str]:
    client = parse_client(case["host"])
    assert client is not None
    local, _, domain = str(case["mailfrom"]).rpartition("@")
    query = make_query(client, Address(local, domain) if domain else None, case["helo"])
    outcome = asyncio.run(check(ZoneDns(zones), query, explain=True))
    return outcome.result, outcome.explanation or "DEFAULT"


@pytest.mark.parametrize(("zones", "case"), RFC7208)
def test_rfc7208(zones: dict[str, Any], case: dict[str, Any]) -> None:
    result, explanation = evaluate(zones, case)
    assert result == (case["result"][0] if isinstance(case["result"], list) else case["result"])
    assert explanation == case.get("explanation", explanation)


@pytest.mark.parametrize(("zones", "case"), RFC4408)
def test_rfc4408(zones: dict[str, Any], case: dict[str, Any]) -> None:
    result, explanation = evaluate(zones, case)
    assert result in case["result"] if isinstance(case["result"], list) else result == case["result"]
    assert explanation == case.get("explanation", explanation)


def test_the_suites_are_complete() -> None:
    assert (len(RFC7208), len(RFC4408)) == (203, 191)
