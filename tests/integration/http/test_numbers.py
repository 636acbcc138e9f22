"""Health and numbers over two workers: /readyz, /metrics, ``mta status``, and a hostile plugin that has a name in ``mta plugins``."""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import re
import signal
from http.client import HTTPConnection

import pytest

from mta.testing.server import HOST, MailServer, wait_until

LETTER = b"Subject: numbers\r\n\r\nhi\r\n"

HOSTILE = """
from mta_hooks import Health, hookimpl

@hookimpl
def smtp_mail(sender):
    if sender and sender.local == "trouble":
        raise RuntimeError("I am hostile")

@hookimpl
def health_check():
    return Health("failed", "sulking")
"""


def numbers(web):
    """{series: value} of one scrape."""
    got = web.ask("GET", "/metrics")
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in got.body.decode().splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def send(web, times=1):
    for _ in range(times):
        with web.smtp() as client:
            client.sendmail("bob@elsewhere.test", ["alice@example.test"], LETTER)


def test_numbers_are_those_of_all_workers(web):
    def accepted():
        return numbers(web).get('mta_messages_total{origin="smtp",result="accepted"}', 0)

    before = accepted()
    send(web, 10)
    wait_until(lambda: accepted() == before + 10, 5, "ten more messages", 0.2)
    found = numbers(web)
    assert found["mta_workers"] == 2
    assert found["mta_accept_seconds_count"] == before + 10
    assert found['mta_accept_seconds_bucket{le="+Inf"}'] == before + 10
    assert found["mta_sql_commit_seconds_count"] >= 1
    assert found['mta_deliveries_total{transport="local",result="delivered"}'] >= 10
    assert found['mta_queue_recipients{state="waiting"}'] == 0


def test_a_plugins_own_numbers_stand_below_its_name(web):
    before = numbers(web).get("mta_web_asked_total", 0)
    for _ in range(6):  # they meet both workers, which count for themselves
        assert web.ask("GET", "/plugins/web/hello/x").status == 200
    wait_until(lambda: numbers(web)["mta_web_asked_total"] == before + 6, 5, "six more", 0.2)


def test_counters_outlive_a_worker_that_dies(web):
    send(web, 4)
    series = 'mta_messages_total{origin="smtp",result="accepted"}'
    status = json.loads(web.cli("status", "--json").stdout)
    sent = len(re.findall(r"message\.accepted", web.log))
    wait_until(lambda: numbers(web).get(series) == sent, 5, "all counted", 0.2)
    victim = status["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in web.workers and len(web.workers) == 2, 10, "another worker")
    wait_until(lambda: numbers(web)["mta_workers"] == 2, 10, "both serve", 0.2)
    assert numbers(web)[series] == sent
    assert numbers(web)["mta_worker_restarts_total"] >= 1


def test_ready_says_so_with_json(web):
    wait_until(lambda: web.ask("GET", "/readyz").status == 200, 10, "ready", 0.2)
    assert json.loads(web.ask("GET", "/readyz").body) == {"status": "ready", "problems": []}
    assert json.loads(web.ask("GET", "/healthz").body) == {"status": "ok"}


def test_status_shows_the_main_numbers(web):
    send(web)
    text = web.cli("status").stdout.decode()
    assert re.search(r"^messages +\d+ accepted, \d+ refused, \d+ deferred$", text, re.MULTILINE)
    assert re.search(r"^queue +0 due", text, re.MULTILINE)


def test_a_hostile_plugin_is_named_with_its_errors_and_its_health(tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "sulker.py").write_text(HOSTILE)
    server = MailServer({"hooks_dir": str(hooks)}, protocols=("smtp", "http"), directory=tmp_path)
    with server:

        def row():
            return {p["name"]: p for p in json.loads(server.cli("plugins", "list", "--json").stdout)}["sulker"]

        for _ in range(12):  # five in a row in one of the two workers open its circuit breaker
            with server.smtp() as client:
                assert client.mail("trouble@elsewhere.test")[0] == 451
        wait_until(lambda: row()["errors"] >= 5, 10, "its errors", 0.3)
        found = row()
        assert found["running"]
        assert found["state"] == "failed"  # its own word is worse than the open breaker
        assert found["reason"] == "sulking"
        mail = next(hook for hook in found["by_hook"] if hook["hook"] == "smtp_mail")
        assert mail["errors"] >= 5
        assert "I am hostile" in mail["last_error"]
        listed = next(line for line in server.cli("plugins").stdout.decode().splitlines() if line.startswith("sulker"))
        assert "failed" in listed
        assert "sulking" in listed
        link = HTTPConnection(HOST, server.ports["http"], timeout=5)
        link.request("GET", "/readyz")
        got = link.getresponse()
        assert (got.status, json.loads(got.read())["problems"]) == (503, ["plugin sulker has failed"])
        assert re.search(r"^plugins +\d+ errors, sulker suspended$", server.cli("status").stdout.decode(), re.MULTILINE)
        server.stop()
        assert "errors" not in row()  # as before when no server runs


@pytest.mark.parametrize("words", [("plugins", "info", "prometheus"), ("plugins", "info", "prometheus", "--json")])
def test_info_shows_each_hook_and_route(web, words):
    numbers(web)
    wait_until(lambda: b"GET /metrics" in web.cli(*words).stdout, 5, "the route", 0.3)
