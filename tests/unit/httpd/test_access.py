"""Who is the administrator, and where a secret may be said."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import os
from types import SimpleNamespace

import pytest

from mta.directory.login import Denied
from mta.httpd.access import HttpSession, is_admin, refusal
from mta.model.directory import AuthOk
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.model.verdict import defer, reject
from mta.testing.plugins import FakeClock, RecordingLog

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
BASIC = {"authorization": "Basic " + base64.b64encode("änne@example.test:pass:wörd".encode()).decode()}


class Login:
    def __init__(self, answer):
        self.answer, self.seen = answer, []

    async def log_in(self, attempt, claim):
        self.seen.append((attempt.service, attempt.mechanism, claim.username, claim.password))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def link(*, ip="192.0.2.1", tls=True, uid=None, token=TOKEN, plain=False, login=None):
    http = SimpleNamespace(admin_token=token)
    auth = SimpleNamespace(plaintext_without_tls=plain, failure_delay=0.0, max_failures=3)
    server = SimpleNamespace(config=SimpleNamespace(http=http, auth=auth), login=login, log=RecordingLog(), clock=FakeClock())
    return SimpleNamespace(
        ours=server, client_ip=ip, client_port=1, local_ip="", local_port=0, tls=tls, peer_uid=uid, failures=0, id="c"
    )


def ask(who, access="user", method="GET", **headers):
    session = HttpSession.of(who)
    answer = asyncio.run(refusal(access, who, session, method, headers, is_admin(who, headers)))
    return answer, session.user


@pytest.mark.parametrize(
    ("given", "headers", "admin"),
    [
        ({}, BEARER, True),
        ({}, {"authorization": f"bearer  {TOKEN} "}, True),
        ({}, {"authorization": f"Bearer {TOKEN}0"}, False),
        ({}, {"authorization": f"Basic {TOKEN}"}, False),
        ({}, {}, False),
        ({"token": None}, {"authorization": "Bearer None"}, False),
        ({"token": None}, {"authorization": "Bearer "}, False),
        ({"tls": False}, BEARER, False),
        ({"tls": False, "ip": "127.0.0.1"}, BEARER, True),
        ({"tls": False, "ip": "::1"}, BEARER, True),
        ({"tls": False, "plain": True}, BEARER, True),
        ({"uid": 0, "ip": ""}, {}, True),
        ({"uid": os.geteuid(), "ip": ""}, {}, True),
        ({"uid": os.geteuid() + 12345, "ip": ""}, {}, False),
        ({"uid": os.geteuid() + 12345, "ip": "", "tls": False}, BEARER, True),
    ],
)
def test_who_is_the_administrator(given, headers, admin):
    who = link(**given)
    assert is_admin(who, headers) is admin
    assert (ask(who, "admin", **headers)[0] is None) is admin


def test_a_secret_over_an_open_connection_is_not_even_looked_at():
    login = Login(AuthOk("a@example.test", UserId(1)))
    for access, headers in (("user", BASIC), ("admin", BEARER)):
        answer, user = ask(link(tls=False, login=login), access, **headers)
        assert (answer.status, user) == (403, "")
        assert b"https" in answer.body
    assert login.seen == []


def test_a_login_is_the_one_of_the_other_protocols():
    login = Login(AuthOk("anne@example.test", UserId(1)))
    assert ask(link(login=login), **BASIC) == (None, "anne@example.test")
    assert login.seen == [("http", "BASIC", "änne@example.test", "pass:wörd")]


@pytest.mark.parametrize(
    ("answer", "status", "failures"),
    [
        (Denied("wrong"), 401, 1),
        (Denied("policy", reject("not you"), known=True), 403, 1),
        (Denied("policy", defer("later")), 503, 0),
        (TemporaryFailure("the directory is away"), 503, 0),
    ],
)
def test_what_a_refused_login_is_answered(answer, status, failures):
    who = link(login=Login(answer))
    got, user = ask(who, **BASIC)
    assert (got.status, user, who.failures) == (status, "", failures)
    assert b"directory" not in got.body


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Basic /w==", "Digest x"]
)
def test_what_is_no_basic_is_asked_again(value):
    login = Login(None)
    assert ask(link(login=login), authorization=value)[0].status == 401
    assert login.seen == []


@pytest.mark.parametrize(
    ("method", "more", "allowed"),
    [
        ("GET", {"origin": "https://evil.test"}, True),
        ("POST", {}, True),
        ("POST", {"origin": "https://mx.example.test", "host": "MX.example.test"}, True),
        ("POST", {"origin": "https://evil.test", "host": "mx.example.test"}, False),
        ("POST", {"origin": "null", "host": "mx.example.test"}, False),
        ("DELETE", {"sec-fetch-site": "same-site"}, False),
        ("PUT", {"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_what_another_site_may_ask_with_a_browsers_password(method, more, allowed):
    answer, _ = ask(link(login=Login(AuthOk("a@example.test", UserId(1)))), method=method, **BASIC, **more)
    assert (answer is None) is allowed
