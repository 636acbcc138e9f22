"""Handlers written for aiosmtpd, unchanged, in the real daemon."""
# SPDX-License-Identifier: Apache-2.0

import mailbox
import smtplib
import threading
import time
from pathlib import Path

import pytest

from mta.testing.server import MailServer, wait_until

LETTER = b"From: bob@elsewhere.test\r\nSubject: %b\r\nMessage-ID: <%b@elsewhere.test>\r\n\r\nhi\r\n"

HANDLER = """
import time
from aiosmtpd.smtp import Envelope, Session


class Gate:
    def __init__(self, word, tag="none"):
        self.word, self.tag = word, tag

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return responses[:1] + ["250-XTAG " + self.tag] + responses[1:]

    async def handle_MAIL(self, server, session, envelope, address, mail_options):
        if address.endswith("@spam.test"):
            return "550 5.7.1 no spam"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        envelope.rcpt_tos.append("bob@example.test" if address == "robert@example.test" else address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        assert isinstance(session.peer, tuple) and session.peer[0] == "127.0.0.1", session.peer
        if b"sleep" in envelope.content:
            time.sleep(3)
        if b"raise" in envelope.content:
            raise LookupError("oh")
        if self.word.encode() in envelope.content:
            return "554 5.6.0 the word, from %s to %s" % (envelope.mail_from, ",".join(envelope.rcpt_tos))
        return "250 Message accepted for delivery"

    async def handle_EXCEPTION(self, error):
        return "451 4.3.0 " + type(error).__name__

    async def auth_LOGIN(self, server, args):
        raise AssertionError("never called")
"""


def letter(subject: bytes) -> bytes:
    return LETTER % (subject, subject)


@pytest.mark.slow
def test_a_handler_that_is_shown_all_mail(tmp_path: Path) -> None:
    (tmp_path / "gatehouse.py").write_text(HANDLER, encoding="utf-8")
    plugin = {"handler": "gatehouse:Gate", "arguments": ["forbidden"], "options": {"tag": "ours"}}
    config = {"plugins": {"sql": {}, "aiosmtpd": plugin}, "workers": 1}
    with MailServer(config, protocols=("smtp", "imap"), env={"PYTHONPATH": str(tmp_path)}) as server:
        server.wait_for_log(r"aiosmtpd\.not_called.*auth_LOGIN")
        with server.smtp() as client:
            client.ehlo("client.test")
            assert client.esmtp_features["xtag"] == "ours"
            assert "pipelining" in client.esmtp_features
            assert client.mail("x@spam.test") == (550, b"5.7.1 no spam")
            assert client.mail("bob@elsewhere.test")[0] == 250
            assert client.rcpt("x@elsewhere.test")[0] == 550  # 250 from handle_RCPT makes no open relay
            client.rset()
            client.sendmail("bob@elsewhere.test", ["robert@example.test"], letter(b"one"))
            for subject, reply in (
                (b"forbidden", (554, b"5.6.0 the word, from bob@elsewhere.test to alice@example.test")),
                (b"raise", (451, b"4.3.0 LookupError")),
            ):
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    client.sendmail("bob@elsewhere.test", ["alice@example.test"], letter(subject))
                assert (refused.value.smtp_code, refused.value.smtp_error) == reply
        with server.imap("bob@example.test") as box:
            assert box.select()[1] == [b"1"]

        def slow() -> None:
            with server.smtp() as client:
                client.sendmail("bob@elsewhere.test", ["alice@example.test"], letter(b"sleep"))

        thread = threading.Thread(target=slow)
        thread.start()
        time.sleep(0.5)
        begin = time.monotonic()
        with server.imap("alice@example.test") as box:
            box.select()
        assert time.monotonic() - begin < 1.5, "a handler that blocks holds up none but those who ask it"
        thread.join()


@pytest.mark.slow
def test_a_handler_that_receives_the_mail_of_a_domain(tmp_path: Path) -> None:
    plugin = {"handler": "aiosmtpd.handlers:Mailbox", "arguments": [str(tmp_path / "box")], "domains": ["tickets.test"]}
    with MailServer({"plugins": {"sql": {}, "aiosmtpd": plugin}}, protocols=("smtp",)) as server:
        with server.smtp() as client:
            client.sendmail("bob@elsewhere.test", ["new@tickets.test", "alice@example.test"], letter(b"one"))
        box = mailbox.Maildir(tmp_path / "box")
        wait_until(lambda: len(box) == 1, 10, "the handler has it")
        wait_until(lambda: server.queue_count() == 0, 10, "the queue is empty")
        message = next(iter(box))
        assert message["X-RcptTo"] == "new@tickets.test"
        assert message["X-MailFrom"] == "bob@elsewhere.test"
        assert message["Subject"] == "one"


def test_a_handler_that_is_not_there_is_an_error_of_the_config() -> None:
    plugin = {"handler": "no_such_module:Gate", "required": True}
    server = MailServer({"plugins": {"sql": {}, "aiosmtpd": plugin}}, protocols=("smtp",))
    try:
        server.prepare()
        server.launch()
        assert server.process is not None
        assert server.process.wait(20) == 78, server.log
        assert "plugins.aiosmtpd: handler: no_such_module:Gate: ModuleNotFoundError" in server.log
    finally:
        server.close()
