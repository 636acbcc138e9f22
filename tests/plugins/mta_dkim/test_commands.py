"""mta dkim keygen and check: the real command, against a real DNS server."""
# SPDX-License-Identifier: Apache-2.0

import json
import stat

import pytest

from mta.testing.dns import DnsServer
from mta.testing.server import MailServer


@pytest.fixture(scope="module")
def names():
    with DnsServer().thread() as server:
        yield server


@pytest.fixture(scope="module")
def server(names, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    plugins = {"sql": {}, "dkim": {"selector": "s1", "key": str(folder / "new" / "s1.pem"), "domains": {"example.test": {}}}}
    one = MailServer({"dns": {"servers": [names.address]}, "plugins": plugins}, users=(), protocols=("smtp",))
    one.write_config()
    yield one
    one.close()


def run(server, *words, status=0):
    done = server.cli("dkim", *words, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode() if status == 0 else done.stderr.decode()


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_key_is_made_published_and_checked(server, names, tmp_path, algorithm):
    out = tmp_path / "k.pem"
    words = ("keygen", "--domain", "Other.Test", "--selector", "x1", "--algorithm", algorithm, "--out", str(out), "--json")
    made = json.loads(run(server, *words))
    assert made["name"] == "x1._domainkey.other.test"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "".join(made["strings"]) == made["value"]
    assert max(map(len, made["strings"])) <= 255
    assert len(made["strings"]) == (2 if algorithm == "rsa" else 1)
    check = ("check", "other.test", "--selector", "x1", "--key", str(out))
    names.set(made["name"])
    assert "there is no such record" in run(server, *check, status=65)
    names.ttl = 0
    names.set(made["name"], TXT=[" ".join(f'"{text}"' for text in made["strings"])])
    assert "is the record of" in run(server, *check)
    names.set(made["name"], TXT=['"v=DKIM1; p="'])
    assert json.loads(server.cli("dkim", *check, "--json", check=False).stdout)["ok"] is False


def test_the_configs_own_key_and_no_second_one(server, names):
    text = run(server, "keygen", "--domain", "example.test")
    assert text.startswith('s1._domainkey.example.test. IN TXT (\n\t"v=DKIM1; k=rsa; p=')
    assert "is there already" in run(server, "keygen", "--domain", "example.test", status=73)
    assert "--out is missing" in run(server, "keygen", "--domain", "example.test", "--selector", "s9", status=64)
    names.misbehave("*", "servfail")
    assert "DNS does not answer" in run(server, "check", "example.test", status=75)
    names.misbehave("*", None)
