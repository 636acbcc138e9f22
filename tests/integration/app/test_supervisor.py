"""The life of ``mta serve``: start, reload, crash of a worker or of the supervisor, stop; seen from outside."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from mta.testing.clients import compose
from mta.testing.server import HOST, MailServer, ServerFailed, free_port, untrusting, wait_until

ALICE = "alice@example.test"


@pytest.fixture
def server():
    with MailServer(protocols=("smtp", "imap")) as running:
        yield running


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def status(server):
    return json.loads(server.cli("status", "--json").stdout)


def test_status_tells_what_runs(server):
    with server.imap(ALICE):
        wait_until(lambda: sum(w["imap"] for w in status(server)["workers"]) == 1, 5, "the connection in mta status")
    found = status(server)
    assert found["pid"] == server.pid
    assert found["state"] == "running"
    assert sorted(w["pid"] for w in found["workers"]) == server.workers
    assert [w["state"] for w in found["workers"]] == ["serving", "serving"]
    wait_until(lambda: sum(w["dispatch"] for w in status(server)["workers"]) == 1, 5, "one dispatcher")
    assert {one["url"].partition(":")[0] for one in found["listening"]} == {"smtp", "imap", "submission+unix"}


def test_listening_is_logged_when_every_worker_accepts(server):
    server.wait_for_log(r"\bserver\.ready\b")
    lines = [line.split()[2] for line in server.log_now.splitlines() if " info " in line]
    assert lines.count("listening") == 3
    assert lines.index("server.ready") > lines.index("listening")


def test_sigterm_drains_and_a_second_one_stops_at_once():
    with MailServer(protocols=("smtp",)) as server:
        client = server.smtp()
        client.mail("x@client.test")
        client.rcpt(ALICE)
        client.docmd("DATA")
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)  # a message is on its way
        client.send(b"Subject: x\r\n\r\nlast words\r\n.\r\n")
        assert client.getreply()[0] == 250
        assert server.process.wait(10) == 0
        assert time.monotonic() - begin < 10
        server.process = None
        server.start()
        client = server.smtp()
        client.mail("x@client.test")
        client.rcpt(ALICE)
        client.docmd("DATA")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(2) == 0
        server.process = None


def test_a_worker_that_dies_is_replaced_at_once(server):
    before = server.workers
    os.kill(before[0], signal.SIGKILL)
    took = wait_until(lambda: len(server.workers) == 2 and before[0] not in server.workers, 5, "a new worker")
    assert took < 1.5
    server.wait_for_log(r"worker\.died .*SIGKILL")
    wait_until(lambda: all(w["state"] == "serving" for w in status(server)["workers"]), 5, "both serve")
    assert status(server)["restarts"] == 1
    with server.smtp() as client:
        client.sendmail("x@client.test", [ALICE], compose("<after@client.test>", ALICE))


def test_workers_end_with_their_supervisor(server):
    workers = server.workers
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(5)
    wait_until(lambda: not any(alive(pid) for pid in workers), 8, "no orphans")
    server.process = None
    server.start()  # sockets and locks of the dead are in nobody's way


def test_reload_adds_and_removes_listeners_and_keeps_the_rest(server):
    added = free_port()
    smtp, imap = server.config["listen"]
    server.config["listen"] = [smtp, f"pop3://{HOST}:{added}"]
    server.write_config()
    old = server.workers
    assert server.cli("reload").stdout == b"reloaded\n"
    wait_until(lambda: not any(alive(pid) for pid in old), 10, "the old workers")
    with socket.create_connection((HOST, added), 5) as client:
        assert client.recv(100).startswith(b"+OK")
    with server.smtp() as client:
        assert client.noop()[0] == 250
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, int(imap.rpartition(":")[2])), 5)


def test_no_connection_is_refused_during_a_reload(server):
    begin, answered, old = time.monotonic(), 0, server.workers
    server.reload()
    while time.monotonic() - begin < 2.5:
        with socket.create_connection((HOST, server.ports["smtp"]), 5) as client:
            answered += client.recv(100)[:3] in (b"220", b"421")
    server.wait_for_log(r"reload\.done")
    assert answered > 20
    wait_until(lambda: not any(alive(pid) for pid in old), 10, "the old workers")


def test_a_wrong_config_is_named_and_changes_nothing(server):
    old = server.workers
    server.write_config('{\n "hostname": "mx.example.test",\n "routs": {}\n}')
    failed = server.cli("reload", check=False)
    assert failed.returncode == 78
    assert b":3: routs: unknown key. Fix: did you mean routes?" in failed.stderr
    server.reload()
    server.wait_for_log(r"reload\.failed .*:3: routs: unknown key")
    assert server.workers == old
    server.config["data_dir"] = str(server.directory / "elsewhere")
    server.write_config()
    server.reload()
    server.wait_for_log("data_dir: cannot change while the server runs")
    server.config["data_dir"] = str(server.data_dir)
    server.config["plugins"] = {"sql": {}, "dkim": {"nonsense": True}}
    server.write_config()
    failed = server.cli("reload", check=False, timeout=30)
    assert failed.returncode == 78
    assert b"plugins.dkim" in failed.stderr
    wait_until(lambda: server.workers == old, 10, "the old workers alone")
    with server.smtp() as client:
        client.sendmail("x@client.test", [ALICE], compose("<still@client.test>", ALICE))


def test_pid_file_and_notify_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, MailServer(protocols=("smtp",)) as server:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        server.stop()
        server.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        command = [*server.command("serve"), "--pid-file", str(tmp_path / "pid")]
        process = subprocess.Popen(command, env=server._environment(), stderr=subprocess.DEVNULL)
        try:
            said = systemd.recv(1000).decode()
            assert "READY=1" in said
            assert f"MAINPID={process.pid}" in said
            assert int((tmp_path / "pid").read_text()) == process.pid
            process.send_signal(signal.SIGHUP)
            assert systemd.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert b"READY=1" in systemd.recv(1000)
            process.terminate()
            assert systemd.recv(1000) == b"STOPPING=1"
            assert process.wait(10) == 0
            assert not (tmp_path / "pid").exists()
        finally:
            process.kill()


def test_a_taken_port_is_exit_78_and_named():
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        server = MailServer({"listen": [f"smtp://{HOST}:{port}"]}, users=())
        try:
            with pytest.raises(
                ServerFailed, match=rf"(?s)exit status 78.*listen\[0\]: cannot listen on smtp://{HOST}:{port}: .*Fix: "
            ):
                server.start()
        finally:
            server.close()


def test_connections_spread_over_the_workers():
    with MailServer({"workers": 2}, protocols=("smtp",)) as server:
        clients = [server.smtp() for _ in range(20)]
        held = sorted(server.connections("smtp").values())
        assert sum(held) == 20
        assert held[0] >= 7, held
        for client in clients:
            client.close()


def test_a_full_worker_rests_and_goes_on():
    with MailServer({"workers": 1, "limits": {"connections": 3}}, protocols=("smtp",)) as server:
        clients = [server.smtp() for _ in range(3)]
        waiting = socket.create_connection((HOST, server.ports["smtp"]), 5)
        waiting.settimeout(0.6)
        with pytest.raises(TimeoutError):
            waiting.recv(100)
        server.wait_for_log(r"listener\.full")
        clients[0].quit()
        waiting.settimeout(5)
        assert waiting.recv(100).startswith(b"220")
        for client in clients[1:]:
            client.close()


def test_implicit_tls_and_a_client_that_says_nothing():
    with (
        MailServer(protocols=("smtp", "submissions")) as server,
        socket.create_connection((HOST, server.ports["submissions"]), 5) as silent,
        server.smtp(protocol="submissions") as client,
    ):
        assert client.noop()[0] == 250
        silent.sendall(b"not TLS at all\r\n")
        silent.settimeout(5)
        while silent.recv(100):
            pass
        assert client.noop()[0] == 250


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_before_implicit_tls(version):
    ports = {name: free_port() for name in ("submissions", "imaps", "pop3s")}
    listen = [{"url": f"{name}://{HOST}:{port}", "proxy_protocol": [HOST]} for name, port in ports.items()]
    header = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 993\r\n"
    if version == 2:
        addresses = (
            socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8") + (4711).to_bytes(2, "big") + (993).to_bytes(2, "big")
        )
        header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(addresses).to_bytes(2, "big") + addresses
    login = {
        "submissions": b"EHLO x\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==\r\n",
        "imaps": b"a LOGIN alice@example.test wrong\r\n",
        "pop3s": b"USER alice@example.test\r\nPASS wrong\r\n",
    }
    with MailServer({"listen": listen, "workers": 1}, protocols=()) as server:
        for name, port in ports.items():
            with socket.create_connection((HOST, port), 5) as plain:
                plain.sendall(header)
                with untrusting().wrap_socket(plain) as client:
                    assert client.recv(1000)[:3] in (b"220", b"* O", b"+OK")
                    client.sendall(login[name])
                    protocol = {"submissions": "smtp", "imaps": "imap", "pop3s": "pop3"}[name]
                    server.wait_for_log(rf"auth\.failed .*service={protocol} .*client=192\.0\.2\.7")
            with socket.create_connection((HOST, port), 5) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert plain.recv(100) == b""


JUDGE = """
from mta_hooks import Health, hookimpl

@hookimpl
def health_check():
    return Health("degraded", "tired of reloads")

@hookimpl
def config_changed(old, new):
    if "database" in new or "plugins" in old:
        return "secrets are shown"
    if new["limits"]["recipients"] < old["limits"]["recipients"]:
        return ["limits.recipients: never fewer", "and tell us before"]
    if new["limits"]["recipients"] == 7777:
        raise ValueError("cannot judge")
"""


def test_plugins_may_refuse_a_reload(tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "judge.py").write_text(JUDGE)
    (hooks / "judge.py").chmod(0o644)
    with MailServer({"hooks_dir": str(hooks), "workers": 1, "limits": {"recipients": 500}}, protocols=("smtp",)) as server:
        for recipients, words in ((400, b"plugins.judge: limits.recipients: never fewer"), (7777, b"judge: config_changed")):
            server.config["limits"] = {"recipients": recipients}
            server.write_config()
            old = server.workers
            failed = server.cli("reload", check=False, timeout=30)
            assert failed.returncode != 0
            assert words in failed.stderr
            wait_until(lambda old=old: server.workers == old, 10, "the old worker alone")
        server.config["limits"] = {"recipients": 600}
        server.write_config()
        assert server.cli("reload").stdout == b"reloaded\n"
        found = json.loads(server.cli("doctor", "--json", check=False).stdout)
        assert {"result": "warn", "what": "health of judge", "finding": "tired of reloads"} in found
        server.wait_for_log(r"plugin\.health .*state=degraded")
