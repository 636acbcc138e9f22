"""Routes of a drop-in plugin over a real daemon: what they are asked, who may, what a failure looks like from outside."""
# SPDX-License-Identifier: Apache-2.0

import base64
import http.client
import json
import re
import shutil
import socket
import subprocess

import pytest

from mta.testing.server import HOST, PASSWORD, untrusting, wait_until

ALICE = "alice@example.test"
TOKEN = "a-token-of-the-test-42"


def basic(user, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_route_below_its_plugins_name_with_parameters(web):
    got = web.ask("GET", "/plugins/web/hello/W%C3%B6rld?q=a+b&q=c")
    assert got.status == 200
    assert json.loads(got.body) == {"name": "Wörld", "q": "a b", "plugin": "web", "protocol": "http", "client": HOST}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-content-type-options"] == "nosniff"


def test_head_of_a_get_route_has_no_body(web):
    got = web.ask("HEAD", "/plugins/web/hello/x")
    assert (got.status, got.body) == (200, b"")
    assert int(got.headers["content-length"]) > 0


def test_a_body_comes_whole_by_each_of_its_methods(web):
    for method in ("POST", "PUT"):
        got = web.ask(method, "/plugins/web/echo", b"x" * 4096)
        assert (got.status, got.body, got.headers["x-method"]) == (201, b"x" * 4096, method)
    chunked = http.client.HTTPConnection(HOST, web.ports["http"], timeout=5)
    chunked.request("POST", "/plugins/web/echo", iter([b"a" * 10, b"b" * 10]), encode_chunked=True)
    assert chunked.getresponse().read() == b"a" * 10 + b"b" * 10


def test_elsewhere_is_404_and_another_method_405_with_allow(web):
    assert web.ask("GET", "/plugins/web").status == 404
    assert web.ask("GET", "/").status == 404
    got = web.ask("DELETE", "/plugins/web/echo")
    assert got.status == 405
    assert set(got.headers["allow"].split(", ")) == {"POST", "PUT"}


def test_who_logs_in_is_known_and_nobody_else(web):
    assert web.ask("GET", "/whoami").status == 401
    got = web.ask("GET", "/whoami", Authorization=basic(ALICE, "wrong"))
    assert got.status == 401
    assert got.headers["www-authenticate"].startswith("Basic ")
    assert web.ask("GET", "/whoami", Authorization="Basic %%%").status == 401
    got = web.ask("GET", "/whoami", Authorization=basic(ALICE))
    assert (got.status, got.body) == (200, ALICE.encode())
    assert re.search(rf"auth\.ok .*service=http user={ALICE}", web.log)
    assert re.search(rf"auth\.failed .*service=http user={ALICE}", web.log)
    assert PASSWORD not in web.log


def test_a_login_counts_for_its_own_request_alone(web):
    """A proxy sends several users over one connection."""
    link = http.client.HTTPConnection(HOST, web.ports["http"], timeout=5)
    link.request("GET", "/whoami", headers={"Authorization": basic(ALICE)})
    assert link.getresponse().read() == ALICE.encode()
    link.request("GET", "/whoami")
    got = link.getresponse()
    assert (got.status, got.read()) == (401, b"log in first\n")


def test_wrong_passwords_end_the_connection(web):
    link = http.client.HTTPConnection(HOST, web.ports["http"], timeout=5)
    for _ in range(3):
        link.request("GET", "/whoami", headers={"Authorization": basic(ALICE, "wrong")})
        got = link.getresponse()
        got.read()
    assert got.getheader("connection") == "close"


def test_another_site_cannot_act_with_a_browsers_password(web):
    host = f"{HOST}:{web.ports['http']}"
    assert web.ask("POST", "/whoami", Authorization=basic(ALICE), Origin="https://evil.test").status == 403
    assert web.ask("POST", "/whoami", Authorization=basic(ALICE), Sec_Fetch_Site="cross-site").status == 403
    assert web.ask("POST", "/whoami", Authorization=basic(ALICE), Origin=f"http://{host}").status == 200


def test_the_administrator_has_a_token(web):
    assert web.ask("GET", "/plugins/web/admin").status == 401
    assert web.ask("GET", "/plugins/web/admin", Authorization=f"Bearer {TOKEN}x").status == 401
    assert web.ask("GET", "/plugins/web/admin", Authorization=basic(ALICE)).status == 401
    assert web.ask("GET", "/plugins/web/admin", Authorization=f"Bearer {TOKEN}").body == b"admin True None"
    assert "http.denied" in web.log
    assert TOKEN not in web.log


def test_the_unix_socket_is_the_administrators_for_root_and_the_server(web):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(f"{web.directory}/http.sock")
        sock.sendall(b"GET /plugins/web/admin HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        octets = b""
        while piece := sock.recv(4096):
            octets += piece
    assert octets.endswith(b"admin True None")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_over_https(web):
    url = f"https://{HOST}:{web.ports['https']}/whoami"
    done = subprocess.run(["curl", "-sSk", "-u", f"{ALICE}:{PASSWORD}", url, url], capture_output=True, timeout=20, check=False)
    assert done.stdout == (ALICE * 2).encode(), done.stderr


def test_https_is_seen_as_such(web):
    link = http.client.HTTPSConnection(HOST, web.ports["https"], timeout=5, context=untrusting())
    link.request("GET", "/healthz")
    assert link.getresponse().status == 200


def test_a_handler_that_raises_is_500_without_a_word_of_it_and_the_plugin_is_named(web):
    for _ in range(2):
        got = web.ask("GET", "/plugins/web/broken")
        assert (got.status, got.body) == (500, b"internal error\n")
    web.wait_for_log(r'plugin\.error .*plugin=web hook="GET /plugins/web/broken" error="KeyError')

    def counted():
        hooks = {hook["hook"]: hook for hook in web.plugins()["web"]["by_hook"]}
        return hooks["GET /plugins/web/broken"]["errors"] >= 2

    wait_until(counted, 10, "the errors in mta plugins", 0.2)


def test_a_handler_past_its_deadline_is_500_and_others_are_served_meanwhile(web):
    assert web.ask("GET", "/plugins/web/slow?s=30").status == 500
    assert web.ask("GET", "/plugins/web/slow?s=0.1").body == b"slept"
