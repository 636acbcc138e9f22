"""The real daemon with the plugin: a delivery is told, durably, while the receiver comes and goes."""
# SPDX-License-Identifier: Apache-2.0

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mta.testing.server import HOST, MailServer, free_port, wait_until

LETTER = b"From: bob@example.test\r\nTo: alice@example.test\r\nSubject: hi\r\nMessage-ID: <one@example.test>\r\n\r\nhi\r\n"


@contextmanager
def receiver(port: int) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Yields the (webhook-id, body) pairs that came."""
    seen: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.headers["webhook-id"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield seen
        finally:
            server.shutdown()


@pytest.mark.slow
def test_a_delivery_is_told_though_the_receiver_was_away() -> None:
    port = free_port()
    plugin = {"url": f"http://{HOST}:{port}/hook", "secret": "a secret of the test", "events": ["delivered", "MessageNew"]}
    with MailServer({"plugins": {"sql": {}, "webhook": plugin}}, protocols=("smtp",)) as server:
        with server.smtp() as client:
            client.sendmail("bob@elsewhere.test", ["alice@example.test"], LETTER)
        server.wait_for_log(r"outbox\.retry")
        with receiver(port) as seen:
            wait_until(lambda: len(seen) >= 2, 40, "both events are told")
    told = {body["type"]: body["data"] for _, body in seen}
    assert len({id for id, _ in seen}) == 2
    assert told["delivered"]["recipient"] == "alice@example.test"
    assert told["delivered"]["message_id"] == "<one@example.test>"
    assert told["mailbox_event"]["event"] == "MessageNew"
    assert told["mailbox_event"]["user"] == "alice@example.test"
    assert "a secret" not in server.log
