"""The config loader: every problem with file, line, key and fix; references; paths; defaults of the machine."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.config.load import InvalidConfig, LoadedConfig, load, loads


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as info:
        loads(text, "/etc/mta/mta.yaml")
    return str(info.value).splitlines()


def good(text: str) -> LoadedConfig:
    return loads(text, "/etc/mta/mta.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hostname: a.test\nhostname: b.test", ":2: hostname: given twice, first in line 1. Fix: keep one of them."),
        ("hostname: no", ":1: hostname: no means false in YAML 1.1. Fix: write true or false"),
        ("domains:\n - NO", ":2: domains[0]: NO means false"),
        ("auth:\n  plaintext_without_tls: on", ":2: auth.plaintext_without_tls: on means true"),
        ("limits:\n  errors: 010", ':2: limits.errors: 010 is not a decimal number in YAML 1.1. Fix: write 10, or "010"'),
        ("queue:\n  lifetime: 12:30", ":2: queue.lifetime: 12:30 is a number to base 60"),
        ("limits: {errors: 1_000}", ":1: limits.errors: 1_000 has underscores"),
        ("a: &x {b: 1}\n<<: *x", ":2: (document): merge keys"),
        ("hostname: !!python/name:os.system x", ":1: hostname: the tag"),
        ("limits:\n  recipents: 5", ":2: limits.recipents: unknown key. Fix: did you mean recipients?"),
        ("zzzz: 5", ":1: zzzz: unknown key. Fix: known here: hostname,"),
        ("workers: -3", ":1: workers: must be greater than or equal to 1"),
        ("domains: [12]", ":1: domains[0]: must be a valid string. Fix: write 12 in quotes."),
        ("listen:\n- url: imap://x\n- smpt://y", ":3: listen[1]: scheme 'smpt' is unknown; known are smtp"),
        ("listen:\n- url: imap://x\n  proxy_protocol: [foo]", ":3: listen[0].proxy_protocol[0]: 'foo' is no address"),
        ("listen:\n- {proxy_protocol: []}", ":2: listen[0].url: Field required"),
        ("relay: {networks: [10.0.0.0/33]}", "relay.networks[0]: '10.0.0.0/33' is no address"),
        ("tls: {certificate: a.pem}", ":1: tls: certificate and key are given together"),
        ("relay: {password: '${MTA_TEST_UNSET}'}", ":1: relay.password: the environment has no MTA_TEST_UNSET"),
        ("relay: {password: 'file:/nonexistent/x'}", ":1: relay.password: /nonexistent/x cannot be read"),
        ("limits: {message_size: 5 parsecs}", ":1: limits.message_size: must be a number with an optional unit"),
        ("a: [1,\nb", "not YAML: "),
        ("- a", ":1: (document): must be keys with values"),
        ("log: {level: loud}", ":1: log.level: must be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_problem_names_file_line_key_and_fix(text: str, expected: str) -> None:
    found = problems(text)
    assert any(line.startswith("/etc/mta/mta.yaml:") and expected in line for line in found), found


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems("workers: 0\nhostname: on\nlimits:\n  errors: 0\nnonsense: 1")
    assert [line.split(":")[1] for line in found] == ["1", "2", "4", "5"]


def test_a_nested_alias_cannot_grow_without_bound() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"{n}: &{n} [{','.join(['*' + p] * 9)}]" for p, n in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert any("more than 100000 values" in line for line in problems(bomb))


def test_references_are_put_in_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("MTA_TEST_SECRET", "s3cret")
    loaded = good("relay: {username: 'a$${b', password: 'x${MTA_TEST_SECRET}y'}")
    assert loaded.config.relay.password == "xs3crety"
    assert loaded.config.relay.username == "a${b"
    assert loaded.references == {("relay", "password"): "x${MTA_TEST_SECRET}y"}


def test_json_is_yaml_and_paths_count_from_the_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mta.yaml"
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    file.write_text(json.dumps({"data_dir": "data", "relay": {"password": f"file:{secret}"}, "plugins": {"sql": {}}}, indent=1))
    loaded = load(str(file))
    assert loaded.config.data_dir == str(tmp_path / "data")
    assert loaded.config.relay.password == "hunter2"
    assert loaded.where("relay.password") == f"{file}:4"
    assert loaded.where("limits.errors") == f"{file}:1"


def test_a_missing_file_says_how_to_name_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTA_CONFIG", "/nonexistent/mta.yaml")
    with pytest.raises(InvalidConfig, match=r"/nonexistent/mta\.yaml: \(file\): cannot be read.*Fix: .*--config"):
        load()


def test_defaults_of_the_machine_and_empty_sections() -> None:
    config = good("relay:\nplugins: {sql: , dkim: {selector: s}}\nlisten: ['smtp://127.0.0.1:25']").config
    assert isinstance(config.workers, int)
    assert 1 <= config.workers <= 8
    assert config.hostname
    assert config.plugins == {"sql": {}, "dkim": {"selector": "s"}}
    assert config.listen[0].url == "smtp://127.0.0.1:25"
    assert good("limits: {message_size: 10 MiB}\nqueue: {lifetime: 2d}").config.limits.message_size == 10 * 2**20
    assert good("hostname: !!str 010.test").config.hostname == "010.test"


def test_keys_with_dots_have_their_line() -> None:
    loaded = good("routes:\n  a.test: smtp://a\n  b.test: smtp://b\n")
    assert loaded.where("routes.b.test") == "/etc/mta/mta.yaml:3"
    assert loaded.where("routes.c.test") == "/etc/mta/mta.yaml:1"
    assert (
        str(loaded.mistake("routes.b.test", "is wrong", "mend it."))
        == "/etc/mta/mta.yaml:3: routes.b.test: is wrong. Fix: mend it."
    )
