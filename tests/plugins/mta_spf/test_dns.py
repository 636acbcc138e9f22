"""Over the real resolver and real packets: names and records that only SPF asks for, and DNS that fails."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from ipaddress import ip_address

import dns.name
import pytest

from mta.config.sections import Dns
from mta.model.address import Address
from mta.net.dns import DnsResolver
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.testing.dns import DnsServer
from mta_spf.check import check
from mta_spf.query import Outcome, make_query

PADDING = " ".join(f"ip4:198.51.100.{n}/32" for n in range(200))
ZONES: dict[str, dict[str, list[str] | str]] = {
    "joined.example": {"TXT": ['"v=spf1 ip4:192.0.2" ".1 -all"']},
    "long.example": {
        "TXT": [" ".join(f'"{PADDING[n : n + 200]}"' for n in range(0, len(PADDING), 200)).replace('"', '"v=spf1 ', 1)]
    },
    "odd.example": {"TXT": ['"v=spf1 exists:%{l}%%%_%-.odd.example -all"']},
    "ptr.example": {"TXT": ['"v=spf1 ptr -all"']},
    "null.example": {"TXT": ['"v=spf1 mx -all"'], "MX": ["0 ."]},
    "mx.example": {"TXT": ['"v=spf1 mx:MX.example/24 -all"'], "MX": ["5 ptr.host.example."]},
    "ptr.host.example": {"A": ["192.0.2.77"]},
    "away.example": {"TXT": ['"v=spf1 include:silent.example -all"']},
    "1.2.0.192.in-addr.arpa": {"PTR": ["Host.PTR.example."]},
    "host.ptr.example": {"A": ["192.0.2.1"]},
    dns.name.from_text('b"o@b(;% %20.odd.example').to_text(omit_final_dot=True): {"A": ["127.0.0.2"]},
}


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (Address("bob", "joined.example"), "pass"),
        (Address("bob", "long.example"), "neutral"),
        (Address('b"o@b(;', "odd.example"), "pass"),
        (Address("b\\o", "odd.example"), "fail"),
        (Address("bob", "ptr.example"), "pass"),
        (Address("bob", "null.example"), "fail"),
        (Address("bob", "mx.example"), "pass"),
        (Address("bob", "none.example"), "none"),
        (Address("bob", "away.example"), "temperror"),
    ],
    ids=str,
)
def test_real_answers(sender: Address, expected: str) -> None:
    async def run() -> Outcome:
        async with DnsServer(ZONES) as server:
            server.misbehave("silent.example", "servfail")
            tasks = Tasks(Log())
            resolver = DnsResolver(Dns(servers=(server.address,), timeout=2), tasks)
            try:
                return await check(resolver, make_query(ip_address("192.0.2.1"), sender, "mx.example"))
            finally:
                await tasks.close()

    assert asyncio.run(run()).result == expected
