"""The records that a domain of ours should have in DNS, and what is wrong with those it has.

MX, address and PTR of our host name; SPF, DKIM, DMARC, MTA-STS, TLS-RPT; SRV records by which mail programs find the servers (RFC 6186 §3,
RFC 8314 §5.1). Where a domain may rightly have another text than ours (SPF, DMARC), any sound one will do.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mta.config.sections import Config
from mta.config.urls import parse_listen
from mta_hooks.services import Dns, DnsError

Kind = Literal["A", "MX", "TXT", "SRV", "PTR"]

_SRV = (
    ("submissions", "submissions"),
    ("submission", "submission"),
    ("imaps", "imaps"),
    ("imap", "imap"),
    ("pop3s", "pop3s"),
    ("pop3", "pop3"),
)
_STRING = 255
_LOOKUPS = ("include:", "redirect=", "exists:", "ptr")


@dataclass(frozen=True, slots=True)
class Record:
    """``value`` as a zone file has it; "" where only you know it. ``exact``: another one is wrong."""

    name: str
    kind: Kind
    value: str
    why: str
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What DNS says of a record; unknown: it does not answer."""

    state: Literal["ok", "missing", "wrong", "unknown"]
    text: str = ""


def wanted(domain: str, config: Config) -> list[Record]:
    """All of them. Raises OSError, ValueError for a DKIM key that cannot be read."""
    host = config.hostname
    out = [
        Record(host, "A", "", "addresses of this server (A, AAAA)"),
        Record(host, "PTR", host, "set by whom the address is rented from; many refuse mail without"),
        Record(domain, "MX", f"10 {host}.", "where mail for the domain goes"),
    ]
    all_else = "~all" if config.relay.smarthost else "-all"
    smarthost = "; add what the operator of your smarthost says (include:…)" if config.relay.smarthost else ""
    out.append(Record(domain, "TXT", f"v=spf1 mx {all_else}", f"SPF: who may send as the domain{smarthost}"))
    out += _dkim(domain, config.plugins.get("dkim") or {})
    postmaster = f"postmaster@{domain}"
    out.append(Record(f"_dmarc.{domain}", "TXT", f"v=DMARC1; p=quarantine; rua=mailto:{postmaster}", "DMARC; begin with p=none"))
    out.append(Record(f"_smtp._tls.{domain}", "TXT", f"v=TLSRPTv1; rua=mailto:{postmaster}", "TLS-RPT: who hears of failed TLS"))
    policy = ((config.plugins.get("mtasts") or {}).get("policies") or {}).get(domain)
    if policy is not None:
        digest = hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]
        out.append(Record(f"_mta-sts.{domain}", "TXT", f"v=STSv1; id={digest}", "MTA-STS; the id changes with the policy"))
        out.append(Record(f"mta-sts.{domain}", "A", "", f"addresses of this server, or CNAME {host}."))
    return out + _services(domain, config)


def _dkim(domain: str, section: Mapping[str, Any]) -> list[Record]:
    own = (section.get("domains") or {}).get(domain)
    if own is None:
        return []
    selector = own.get("selector") or section.get("selector") or "mta"
    value = _key_record(own.get("key") or section.get("key") or "")
    return [Record(f"{selector}._domainkey.{domain}", "TXT", value, "DKIM: the key that signs", exact=True)]


def _key_record(path: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(Path(path).read_bytes(), None)
    except TypeError as exc:
        raise ValueError("has a passphrase") from exc
    if isinstance(key, Ed25519PrivateKey):
        octets, kind = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), "ed25519"
    else:
        octets, kind = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"


def _services(domain: str, config: Config) -> list[Record]:
    ports: dict[str, int] = {}
    for listener in config.listen:
        at = parse_listen(listener.url)
        if not at.path:
            ports.setdefault(at.scheme, at.port)
    out = []
    for scheme, service in _SRV:
        if (port := ports.get(scheme)) is not None:
            first = 0 if scheme.endswith("s") else 10  # RFC 8314 §5.1: implicit TLS is preferred
            value, why = f"{first} 1 {port} {config.hostname}.", "mail programs find the server"
        else:
            value, why = "0 0 0 .", "not offered here (RFC 6186 §3.4)"
        out.append(Record(f"_{service}._tcp.{domain}", "SRV", value, why))
    return out


def zone_line(record: Record) -> str:
    """A line of a zone file; a comment where you have to say the value."""
    if not record.value or record.kind == "PTR":
        return f"; {record.name}. {record.kind} {record.value or '…'}  ({record.why})"
    value = record.value
    if record.kind == "TXT":
        value = " ".join(f'"{value[at : at + _STRING]}"' for at in range(0, len(value), _STRING))
    return f"{record.name}. IN {record.kind} {value}"


async def look(record: Record, dns: Dns) -> Finding:
    """Compare with DNS."""
    try:
        if record.kind == "A":
            addresses = await dns.a(record.name) + await dns.aaaa(record.name)
            return Finding("ok", " ".join(addresses)) if addresses else Finding("missing")
        if record.kind == "PTR":
            return await _pointers(record, dns)
        if record.kind == "MX":
            return _mx(record, await dns.mx(record.name))
        if record.kind == "SRV":
            return _srv(record, (await dns.validated(record.name, "SRV")).records)
        return _txt(record, [text.decode("utf-8", "replace") for text in await dns.txt(record.name)])
    except DnsError as exc:
        return Finding("unknown", str(exc))


async def _pointers(record: Record, dns: Dns) -> Finding:
    addresses = await dns.a(record.name) + await dns.aaaa(record.name)
    wrong = []
    for address in addresses:
        names = await dns.ptr(address)
        if record.value.lower() not in names:
            wrong.append(f"{address} is {' '.join(names) or 'nameless'}")
    if not addresses:
        return Finding("missing", f"{record.name} has no address")
    return Finding("wrong", "; ".join(wrong)) if wrong else Finding("ok")


def _mx(record: Record, found: list[tuple[int, str]]) -> Finding:
    host = record.value.partition(" ")[2].rstrip(".").lower()
    if not found:
        return Finding("missing")
    names = [name for _, name in sorted(found)]
    if host not in names:
        return Finding("wrong", f"mail goes to {' '.join(names) or 'nobody'}")
    return Finding("ok", "" if names == [host] else f"beside {' '.join(name for name in names if name != host)}")


def _srv(record: Record, found: tuple[Any, ...]) -> Finding:
    _, _, port, host = record.value.split()
    if not found:
        return Finding("ok", "absent, which will do") if host == "." else Finding("missing")
    there = {(one[2], one[3]) for one in found}
    if (int(port), host.rstrip(".").lower()) in there:
        return Finding("ok")
    return Finding("wrong", " ".join(f"{name}:{number}" for number, name in sorted(there)))


def _txt(record: Record, texts: list[str]) -> Finding:
    tag = record.value.partition(";")[0].partition(" ")[0]
    if record.exact:  # DKIM: v= may be absent
        texts = [text for text in texts if "p=" in text]
        if not texts:
            return Finding("missing")
        key = "".join(record.value.rpartition("p=")[2].split())
        good = len(texts) == 1 and "".join(texts[0].rpartition("p=")[2].partition(";")[0].split()) == key
        return Finding("ok") if good else Finding("wrong", "another key" if len(texts) == 1 else "several records")
    texts = [text for text in texts if text.partition(";")[0].partition(" ")[0].strip().lower() == tag.lower()]
    if not texts:
        return Finding("missing")
    if len(texts) > 1:
        return Finding("wrong", "several records count as none")
    return _sound(record, tag, texts[0])


def _sound(record: Record, tag: str, text: str) -> Finding:
    """A text of the right kind: is it one that does?"""
    if text == record.value:
        return Finding("ok")
    terms = text.lower().split()
    if tag == "v=spf1" and not any(term.lstrip("+").startswith(("mx", "a", "ip4:", "ip6:", *_LOOKUPS)) for term in terms[1:]):
        return Finding("wrong", f"nobody may send: {text}")
    if tag == "v=DMARC1" and not any(part.strip().lower().startswith("p=") for part in text.split(";")):
        return Finding("wrong", f"no policy: {text}")
    if tag == "v=TLSRPTv1" and "rua=" not in text.lower():
        return Finding("wrong", f"no rua: {text}")
    return Finding("ok", f"yours: {text}")
