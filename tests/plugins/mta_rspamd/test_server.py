"""The real daemon with the plugin, and an rspamd that says what the test wants: where mail goes, and what readers see."""
# SPDX-License-Identifier: Apache-2.0

import json
import smtplib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mta.testing.server import HOST, MailServer

LETTER = b"From: bob@elsewhere.test\r\nTo: alice@example.test\r\nSubject: %b\r\nX-Spam-Flag: NO\r\n\r\nhi\r\n"


class Scanner(BaseHTTPRequestHandler):
    """The action is the message's subject."""

    def do_POST(self) -> None:
        message = self.rfile.read(int(self.headers["content-length"])).decode()
        action = message.partition("Subject: ")[2].partition("\r\n")[0]
        answer = {"action": action, "score": 1.0, "required_score": 15.0, "symbols": {"TEST": {"score": 1.0}}}
        self.send_response(200 if action != "broken" else 500)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_mail_goes_where_rspamd_says() -> None:
    with ThreadingHTTPServer((HOST, 0), Scanner) as scanner:
        threading.Thread(target=scanner.serve_forever, daemon=True).start()
        plugin = {"url": f"http://{HOST}:{scanner.server_port}", "actions": {"add header": "quarantine"}}
        with MailServer({"plugins": {"sql": {}, "rspamd": plugin}}, protocols=("smtp", "imap")) as server:
            for action in ("no action", "add header"):
                with server.smtp() as client:
                    client.sendmail("bob@elsewhere.test", ["alice@example.test"], LETTER % action.encode())
            for action, code in (("reject", 550), ("soft reject", 451), ("broken", 451)):
                with server.smtp() as client, pytest.raises(smtplib.SMTPDataError) as refusal:
                    client.sendmail("bob@elsewhere.test", ["alice@example.test"], LETTER % action.encode())
                assert refusal.value.smtp_code == code
            with server.imap("alice@example.test") as box:
                for folder, expected in (("INBOX", b"X-Spam-Status: No, "), ("Junk", b"X-Spam-Flag: YES\r\n")):
                    assert box.select(folder)[1] == [b"1"]
                    head = box.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1]  # type: ignore[index]
                    assert expected in head  # type: ignore[operator]
                    assert b"X-Spam-Flag: NO" not in head  # type: ignore[operator]
        scanner.shutdown()
