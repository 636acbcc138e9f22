"""A validating resolver (Debian's unbound) over zones that are really signed: what DANE trusts, judged by other people's code.

    with Unbound({"signed.test": records, "bogus.test": records}, forged={"bogus.test": {"mx1": {"A": ["192.0.2.9"]}}}) as resolver:
        config = Dns(servers=(resolver.address,), validating=True)

Each zone has a key that the resolver trusts, except those in ``unsigned``; ``forged`` records replace those signed, without a new signature.
"""
# SPDX-License-Identifier: Apache-2.0

import datetime
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from mta.testing.peers import accepts, find
from mta.testing.server import HOST, free_port, wait_until

Records = Mapping[str, Mapping[str, Sequence[str]]]
"""Name below the zone ("@" is the zone) -> type -> data."""


class Unbound:
    def __init__(
        self, zones: Mapping[str, Records], *, unsigned: Collection[str] = (), forged: Mapping[str, Records] | None = None
    ) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mta-unbound-"))
        self._zones, self._unsigned, self._forged = zones, unsigned, forged or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        lines = [
            "server:", f"  interface: {HOST}@{self.port}", "  do-daemonize: no", '  chroot: ""', '  username: ""',
            f'  directory: "{self.directory}"', f'  pidfile: "{self.directory}/pid"', "  use-syslog: no",
            f'  logfile: "{self.directory}/log"', '  module-config: "validator iterator"', '  local-zone: "test." nodefault',
            "  num-threads: 1", "  access-control: 127.0.0.0/8 allow",
        ]  # fmt: skip
        upstream = []
        for name, records in self._zones.items():
            zone = _zone(name, records)
            if name not in self._unsigned:
                lines.append(f'  trust-anchor: "{_sign(zone)}"')
            for forged, types in self._forged.get(name, {}).items():
                for kind, data in types.items():
                    zone.replace_rdataset(forged, dns.rrset.from_text_list(forged, 60, "IN", kind, data).to_rdataset())
            file = self.directory / f"{name}.zone"
            zone.to_file(str(file), relativize=False)
            upstream += [
                "auth-zone:", f'  name: "{name}."', f'  zonefile: "{file}"', "  for-downstream: no", "  for-upstream: yes",
                "  fallback-enabled: no",
            ]  # fmt: skip
        config = self.directory / "unbound.conf"
        config.write_text("\n".join([*lines, *upstream, "remote-control:", "  control-enable: no"]) + "\n")
        self._process = subprocess.Popen(
            [find("unbound"), "-d", "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC"},
        )
        wait_until(lambda: accepts(HOST, self.port), 10, "unbound accepts")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _zone(name: str, records: Records) -> dns.zone.Zone:
    zone = dns.zone.Zone(dns.name.from_text(name), relativize=True)
    base = {"@": {"SOA": [f"ns.{name}. hostmaster.{name}. 1 3600 600 86400 60"], "NS": [f"ns.{name}."]}, "ns": {"A": [HOST]}}
    for part in (base, records):
        for label, types in part.items():
            for kind, data in types.items():
                zone.replace_rdataset(label, dns.rrset.from_text_list(label, 60, "IN", kind, list(data)).to_rdataset())
    return zone


def _sign(zone: dns.zone.Zone) -> str:
    """The trust anchor."""
    assert zone.origin is not None
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257, protocol=3)
    now = datetime.datetime.now(datetime.UTC)
    dns.dnssec.sign_zone(
        zone,
        keys=[(private, key)],
        inception=now - datetime.timedelta(days=1),
        expiration=now + datetime.timedelta(days=7),
        add_dnskey=True,
        dnskey_ttl=60,
    )
    return f"{zone.origin.to_text()} DNSKEY {key.to_text()}"
