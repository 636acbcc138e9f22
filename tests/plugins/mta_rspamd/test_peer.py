"""The plugin and the real daemon of Debian's package, private: own config, own folder, loopback port, no DNS, no Redis."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import mta_rspamd
from mta.model.address import Address
from mta.model.message import Recipient
from mta.model.verdict import Action
from mta.pluginhost.host import Decision
from mta.pluginhost.http import HttpClient
from mta.testing.peers import accepts
from mta.testing.plugins import FakeMessage, FakeSession, host_with
from mta.testing.server import HOST, free_port, wait_until

pytestmark = pytest.mark.peer("rspamd")

GTUBE = b"JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""With X in front rspamd rejects, with Y it adds a header (rspamd's own variants of SpamAssassin's test message)."""

CONFIG = """
options {{
  pidfile = "{at}/pid"; tempdir = "{at}"; rrd = "{at}/rrd"; cache_file = "{at}/cache"; stats_file = "{at}/stats";
  history_file = "{at}/history"; hs_cache_dir = "{at}"; dynamic_conf = "{at}/dynamic"; control_socket = "{at}/control";
  url_tld = "{at}/tlds"; filters = ""; local_addrs = []; check_all_filters = false; enable_test_patterns = true;
  dns {{ nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "warning"; }}
worker "normal" {{ bind_socket = "{host}:{port}"; count = 1; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
lua = "{at}/rules.lua";
"""

RULES = """
local function all(list)
  local found = {}
  for _, one in ipairs(list or {}) do found[#found + 1] = one.addr end
  return table.concat(found, ' ')
end
rspamd_config:register_symbol{ name = 'TOLD', type = 'normal', callback = function(task)
  local from = task:get_from('smtp')
  local told = { tostring(task:get_from_ip()), task:get_helo() or '-', task:get_user() or '-',
    from and '<' .. all(from) .. '>' or '-', all(task:get_recipients('smtp')), task:get_queue_id() or '-' }
  local wanted = task:get_header('X-Wanted')
  if wanted == table.concat(told, '|') then task:insert_result('TOLD', 1.0) end
end }
rspamd_config:set_metric_symbol('TOLD', 2.5)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    at, port = tmp_path_factory.mktemp("rspamd"), free_port()
    (at / "rspamd.conf").write_text(CONFIG.format(at=at, host=HOST, port=port))
    (at / "rules.lua").write_text(RULES)
    (at / "tlds").write_text("test\nexample\n")
    as_root = ["-i"] if os.geteuid() == 0 else []
    with (at / "log").open("wb") as log:
        daemon = subprocess.Popen(["rspamd", "-f", *as_root, "-c", str(at / "rspamd.conf")], stdout=log, stderr=log)
    try:
        try:
            wait_until(lambda: daemon.poll() is not None or accepts(HOST, port), 60, "rspamd accepts")
        except AssertionError:
            pytest.skip(f"rspamd does not start here: {tail(at / 'log')}")
        if daemon.poll() is not None:
            pytest.skip(f"rspamd does not run here: {tail(at / 'log')}")
        yield f"http://{HOST}:{port}"
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def tail(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-400:]


def check(url: str, message: FakeMessage, *recipients: Address, session: FakeSession | None = None) -> Decision:
    made = host_with(mta_rspamd, config={"url": url}, http=HttpClient())
    plan = made.message_check
    assert plan is not None
    given = [Recipient(r, r) for r in recipients]
    return asyncio.run(plan.verdict(session=session or FakeSession(), message=message, recipients=given, results=()))


def letter(body: bytes, wanted: bytes = b"") -> bytes:
    return b"From: a@s.example\r\nTo: b@r.example\r\nSubject: hello\r\nX-Wanted: %b\r\n\r\n%b\r\n" % (wanted, body)


def test_ham_passes(url: str) -> None:
    message = FakeMessage(letter(b"Lunch on Friday?"))
    decision = check(url, message, Address("b", "r.example"))
    assert (decision.verdict, decision.score) == (None, 0.0)
    assert message.notes["rspamd"].action == "no action"


def test_gtube_is_refused_and_its_variant_marked(url: str) -> None:
    decision = check(url, FakeMessage(letter(b"X" + GTUBE)), Address("b", "r.example"))
    assert decision.verdict is not None
    assert (decision.verdict.action, decision.verdict.code) == (Action.REJECT, 550)
    message = FakeMessage(letter(b"Y" + GTUBE))
    decision = check(url, message, Address("b", "r.example"))
    assert decision.verdict is None
    assert message.notes["rspamd"].action == "add header"
    assert decision.score == message.notes["rspamd"].score > 0


@pytest.mark.parametrize("many", [1, 3, 100])
def test_the_envelope_arrives(url: str, many: int) -> None:
    recipients = [Address(f"r{i:03}{'x' * 50}", "r.example") for i in range(many)]
    told = b"203.0.113.9|client.example.org|u@x.test|<a@s.example>|%b|q1" % b" ".join(str(r).encode() for r in recipients)
    session = FakeSession(client_ip="203.0.113.9", user="u@x.test")
    message = FakeMessage(letter(b"hello", told), sender=Address("a", "s.example"))
    assert check(url, message, *recipients, session=session).score == 2.5


def test_odd_addresses_and_the_null_sender_arrive(url: str) -> None:
    told = b"2001:db8::1|client.example.org|-|<>|a, b@r.example c@r.example|q1"
    recipients = Address("a, b", "r.example"), Address("c", "r.example")
    session = FakeSession(client_ip="2001:db8::1")
    assert check(url, FakeMessage(letter(b"hello", told)), *recipients, session=session).score == 2.5


def test_a_big_message_arrives(url: str) -> None:
    message = FakeMessage(letter(b"A line that repeats itself.\r\n" * 100_000))
    assert check(url, message, Address("b", "r.example")).verdict is None
    assert message.notes["rspamd"].action == "no action"
