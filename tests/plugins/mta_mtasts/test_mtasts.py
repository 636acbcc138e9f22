"""Records, policies, and what is served for our own domains."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from pydantic import ValidationError

from mta.testing.plugins import FakeSession
from mta_hooks.http import HttpRequest
from mta_mtasts import MtaSts
from mta_mtasts.config import MtaStsConfig
from mta_mtasts.policy import MAX_AGE, Policy, read_policy, read_record


@pytest.mark.parametrize(
    ("records", "id"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=spf1 -all", b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1; other=x; id=ab"], "ab"),
        ([b"v=STSv1; id=a", b"v=STSv1; id=b"], None),
        ([b"v=STSv1;"], None),
        ([b"v=STSv1; id=a b"], None),
        ([b"v=STSv1; id=" + b"x" * 33], None),
        ([b"v=STSv2; id=a"], None),
        ([b"v=STSv10; id=a"], None),
        ([b"\xff"], None),
        ([], None),
    ],
)
def test_records(records, id):
    assert read_record(records) == id


def test_a_policy_of_the_rfc():
    text = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"
    policy = read_policy(text)
    assert policy == Policy("enforce", 604800, ("mail.example.com", "*.example.net", "backupmx.example.com"))
    assert [policy.allows(h) for h in ("mail.example.com", "a.example.net", "a.b.example.net", "example.net", "xmail.example.com")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert read_policy("\n".join(policy.lines()).encode()) == policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("version: STSv1\nmode: none\nmax_age: 0", Policy("none", 0)),
        (
            "version: STSv1\nfoo: bar\nmode: testing\nmode: enforce\nmx: A.test.\nmax_age: 9999999999",
            Policy("testing", MAX_AGE, ("a.test",)),
        ),
    ],
)
def test_what_is_not_known_is_passed_over(text, policy):
    assert read_policy(text.encode()) == policy


@pytest.mark.parametrize(
    "text",
    [
        "", "version: STSv1", "version: STSv1\nmode: strict\nmx: a\nmax_age: 1", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmx: *.*.a\nmax_age: 1", "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: 1\nrubbish", "version: STSv1\nmode: enforce\n" + "mx: a.test\n" * 101 + "max_age: 1",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: ٣",
    ],
)  # fmt: skip
def test_what_is_no_policy(text):
    with pytest.raises(ValueError, match=r"."):
        read_policy(text.encode())


def request(host):
    return HttpRequest("GET", "/.well-known/mta-sts.txt", {}, (), {"host": host}, b"", FakeSession())


@pytest.mark.parametrize(
    ("host", "status"), [("mta-sts.example.org", 200), ("MTA-STS.Example.org:443", 200), ("example.org", 404), ("", 404)]
)
def test_our_own_policies_are_served(host, status):
    class Ctx:
        config = MtaStsConfig(policies={"Example.org": {"mode": "enforce", "mx": ["mx.example.org"], "max_age": 86400}})

    answer = MtaSts().serve(request(host), Ctx())
    assert answer.status == status
    if status == 200:
        assert answer.content_type.startswith("text/plain")
        assert answer.body == b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    "own", [{"mode": "enforce"}, {"mode": "enforce", "mx": ["a b"]}, {"mode": "x"}, {"mx": ["a"], "max_age": -1}]
)
def test_a_policy_of_ours_that_others_would_not_understand_is_refused(own):
    with pytest.raises(ValidationError):
        MtaStsConfig(policies={"example.org": own})
