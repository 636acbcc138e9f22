"""mta dns: the records of a config, and what is said of a zone that lacks them, against a real DNS server."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.testing.dns import DnsServer
from mta.testing.server import DOMAIN, MailServer


@pytest.fixture(scope="module")
def names():
    with DnsServer(ttl=0).thread() as server:
        yield server


@pytest.fixture(scope="module")
def server(names, tmp_path_factory):
    key = tmp_path_factory.mktemp("keys") / "s1.pem"
    plugins = {
        "sql": {},
        "dkim": {"selector": "s1", "key": str(key), "domains": {DOMAIN: {}}},
        "mtasts": {"policies": {DOMAIN: {"mode": "testing", "mx": [f"mx.{DOMAIN}"]}}},
    }
    one = MailServer({"dns": {"servers": [names.address]}, "plugins": plugins}, users=(), protocols=("submissions", "imap"))
    one.write_config()
    done = one.cli("dns", DOMAIN, check=False)
    assert done.returncode == 78
    assert b"mta dkim keygen" in done.stderr
    one.cli("dkim", "keygen", "--domain", DOMAIN)
    yield one
    one.close()


def checked(server, status):
    done = server.cli("dns", DOMAIN, "--check", "--json", check=False)
    assert done.returncode == status, (done.stdout, done.stderr)
    return {(row["name"].removesuffix(f".{DOMAIN}"), row["kind"]): row for row in json.loads(done.stdout)}


def test_what_is_printed_is_what_satisfies_the_check(server, names):
    found = checked(server, 1)
    states = {where: row["state"] for where, row in found.items()}
    assert states.pop(("_pop3._tcp", "SRV")) == states.pop(("_imaps._tcp", "SRV")) == states.pop(("_pop3s._tcp", "SRV")) == "ok"
    assert states.pop(("_submission._tcp", "SRV")) == "ok"
    assert set(states.values()) == {"missing"}
    zone: dict[str, dict[str, list[str]]] = {}
    for line in server.cli("dns", DOMAIN).stdout.decode().splitlines():
        if not line.startswith(";"):
            name, _, kind, value = line.split(" ", 3)
            zone.setdefault(name.rstrip("."), {}).setdefault(kind, []).append(value)
    zone |= {f"mx.{DOMAIN}": {"A": ["192.0.2.1"]}, f"mta-sts.{DOMAIN}": {"A": ["192.0.2.1"]}}
    zone["1.2.0.192.in-addr.arpa"] = {"PTR": [f"mx.{DOMAIN}."]}
    for name, types in zone.items():
        names.set(name, **types)
    assert {row["state"] for row in checked(server, 0).values()} == {"ok"}


def test_what_is_wrong_is_named(server, names):
    names.set(f"mx.{DOMAIN}", A="192.0.2.9")
    names.set(DOMAIN, MX=["10 mail.elsewhere.test."], TXT=['"v=spf1 -all"', '"other"'])
    names.set(f"_dmarc.{DOMAIN}", TXT=['"v=DMARC1; rua=mailto:x@y.test"'])
    names.set(f"s1._domainkey.{DOMAIN}", TXT=['"v=DKIM1; k=rsa; p=AAAA"'])
    names.set(f"_smtp._tls.{DOMAIN}", TXT=['"v=TLSRPTv1; rua=mailto:a@y.test"', '"v=TLSRPTv1; rua=mailto:b@y.test"'])
    names.set(f"_imap._tcp.{DOMAIN}", SRV=["0 1 143 other.test."])
    found = checked(server, 1)
    assert found["mx", "PTR"]["found"] == "192.0.2.9 is nameless"
    assert found[DOMAIN, "MX"]["found"] == "mail goes to mail.elsewhere.test"
    assert "nobody may send" in found[DOMAIN, "TXT"]["found"]
    assert "no policy" in found["_dmarc", "TXT"]["found"]
    assert found["s1._domainkey", "TXT"]["found"] == "another key"
    assert "several" in found["_smtp._tls", "TXT"]["found"]
    assert found["_imap._tcp", "SRV"]["found"] == "other.test:143"
    names.set(DOMAIN, MX=[f"5 mx.{DOMAIN}."], TXT=['"v=spf1 include:x.test ~all"'])
    assert checked(server, 1)[DOMAIN, "TXT"]["found"].startswith("yours: ")
    names.misbehave("*", "servfail")
    assert {row["state"] for row in checked(server, 75).values()} == {"unknown"}
    names.misbehave("*", None)
