"""What signed DNS says of one mail server (RFC 7672 §2.2)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.model.tls import TlsPolicy
from mta_hooks.services import Dns, DnsError, Validated


async def find_policy(dns: Dns, domain: str, mx: str) -> TlsPolicy | None:
    """None: DANE does not apply. Raises DnsError when DNS does not answer, bogus data included: then nobody knows."""
    exchangers = await dns.validated(domain, "MX")
    named = any(host == mx for _, host in exchangers.records) or (not exchangers.records and mx == domain)
    if named and not exchangers.secure:  # whoever forges MX can name a host with TLSA records of his own (RFC 7672 §2.2.1)
        return None
    bases = await _bases(dns, mx)
    for base in bases:
        try:
            found = await dns.validated(f"_25._tcp.{base}", "TLSA")
        except DnsError as exc:  # RFC 7672 §2.1.2: never taken for "there are none"
            return TlsPolicy(
                "dane", problem=f"the TLSA records of {base} cannot be had: {exc}", failure="dnssec-invalid", source="tlsa"
            )
        if not found.secure or not found.records:
            continue
        usable = tuple(record for record in found.records if record.usable)
        lines = tuple(map(str, found.records))
        names = (domain,) if named and domain != base else ()
        if not usable:  # RFC 7672 §2.2: TLS all the same, with whatever certificate
            return TlsPolicy("require", name=base, source="tlsa", policy=lines, mx=(mx,))
        return TlsPolicy("dane", usable, base, names, source="tlsa", policy=lines, mx=(mx,))
    return None


async def _bases(dns: Dns, mx: str) -> list[str]:
    """TLSA base domains, best first (RFC 7672 §2.2.2, §2.2.3): where signed CNAMEs lead, then the name itself."""
    answers = await asyncio.gather(dns.validated(mx, "A"), dns.validated(mx, "AAAA"), return_exceptions=True)
    known: list[Validated] = []
    for answer in answers:
        if isinstance(answer, Validated):
            known.append(answer)
        elif not isinstance(answer, DnsError):
            raise answer
    if not known:
        raise DnsError(f"no address of {mx} is known")
    addresses = next((answer for answer in known if answer.records), known[0])
    name = addresses.name or mx
    if addresses.secure:
        return [mx] if name == mx else [name, mx]
    if name != mx and (await dns.validated(mx, "CNAME")).secure:  # signed, but it leads to where nothing is
        return [mx]
    return []  # the servers of zones that are not signed often fail such questions (RFC 7672 §2.2.2)
