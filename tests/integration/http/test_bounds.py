"""What a client may do to the HTTP server: sizes, silence, half a request, rubbish; and what remains when the server stops."""
# SPDX-License-Identifier: Apache-2.0

import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mta.testing.server import HOST, MailServer, ServerFailed, wait_until


def talk(port, octets, timeout=8.0):
    """Send octets and read until the server hangs up."""
    with socket.create_connection((HOST, port), timeout=timeout) as sock:
        sock.sendall(octets)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


def test_a_huge_header_is_431(web):
    answer = talk(web.ports["http"], b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_huge_request_line_is_refused(web):
    assert talk(web.ports["http"], b"GET /" + b"a" * 20000)[9:10] == b"4"


@pytest.mark.parametrize(
    "octets",
    [b"\x16\x03\x01\x00\xa5", b"EHLO x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
     b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked, identity\r\n\r\n12345"],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_the_connection_ends(web, octets):
    answer = talk(web.ports["http"], octets)
    assert answer[9:10] in (b"4", b"5", b"")
    assert b"Traceback" not in answer


def test_a_body_too_large_is_413_declared_or_not(web):
    got = web.ask("POST", "/plugins/web/echo", b"x" * 100_000)
    assert (got.status, got.headers["connection"]) == (413, "close")
    link = http.client.HTTPConnection(HOST, web.ports["http"], timeout=5)
    link.request("POST", "/plugins/web/echo", (b"x" * 1000 for _ in range(50)), encode_chunked=True)
    assert link.getresponse().status == 413
    answer = talk(
        web.ports["http"], b"POST /plugins/web/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_slow_clients_are_cut_off_in_header_and_body(web):
    half = b"POST /plugins/web/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf"
    with ThreadPoolExecutor() as pool:
        head, nothing, body = pool.map(lambda octets: talk(web.ports["http"], octets), (b"GET / HTT", b"", half))
    assert head.startswith(b"HTTP/1.1 408 ")
    assert nothing == b""
    assert body.startswith(b"HTTP/1.1 408 ")


def test_a_peer_that_drips_a_header_is_cut_off(web):
    with socket.create_connection((HOST, web.ports["http"]), timeout=5) as sock:
        begin = time.monotonic()

        def cut_off():
            try:
                sock.sendall(b"G")
            except OSError:
                return True
            return False

        assert wait_until(cut_off, 8, "the end", 0.1) < 5
        assert time.monotonic() - begin > 0.9


def test_a_client_that_takes_no_answers_is_cut_off(web):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(5)
        sock.connect((HOST, web.ports["http"]))
        one = b"POST /plugins/web/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000

        def gone():
            try:
                sock.sendall(one * 50)
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        wait_until(gone, 15, "the end of the connection", 0.1)


def test_requests_in_one_write_are_answered_in_order(web):
    one = b"GET /plugins/web/hello/%d HTTP/1.1\r\nHost: h\r\n\r\n"
    octets = b"".join(one % n for n in range(20)) + b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = talk(web.ports["http"], octets)
    assert [answer.find(b'"name": "%d"' % n) for n in range(20)] == sorted(answer.find(b'"name": "%d"' % n) for n in range(20))
    assert answer.count(b"HTTP/1.1 200 ") == 20


def test_a_stop_lets_the_request_at_work_end_and_closes_idle_connections(web, tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "web.py").write_text((web.directory / "hooks" / "web.py").read_text())
    with MailServer({"hooks_dir": str(hooks), "workers": 1}, protocols=("http",), users=()) as server:
        idle = http.client.HTTPConnection(HOST, server.ports["http"], timeout=10)
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        busy = http.client.HTTPConnection(HOST, server.ports["http"], timeout=10)
        busy.request("GET", "/plugins/web/slower?s=1.5")
        time.sleep(0.3)
        stopped = threading.Thread(target=server.stop)
        stopped.start()
        assert idle.sock.recv(10) == b""
        got = busy.getresponse()
        assert (got.status, got.read(), got.getheader("connection")) == (200, b"slept", "close")
        stopped.join(10)
        assert not stopped.is_alive()


def test_http_without_its_libraries_is_a_config_error_naming_the_extra(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda n, *a: None if n == 'uvicorn' else find(n, *a)\n"
    )
    server = MailServer(protocols=("http",), users=(), directory=tmp_path, env={"PYTHONPATH": str(hidden)})
    with pytest.raises(ServerFailed, match="exit status 78"):
        server.start()
    assert "listen[0]" in server.log
    assert "mta-server[http]" in server.log
    server.close()


def test_all_workers_serve(web):
    """Neither of them keeps all connections."""

    def both():
        links = [http.client.HTTPConnection(HOST, web.ports["http"], timeout=5) for _ in range(20)]
        for link in links:
            link.request("GET", "/healthz")
            assert link.getresponse().read()
        counts = web.connections("http")
        for link in links:
            link.close()
        return len(counts) == 2 and min(counts.values()) > 0

    wait_until(both, 10, "connections in both workers", 0.1)
