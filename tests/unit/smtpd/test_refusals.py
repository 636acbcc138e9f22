"""Every stage of an SMTP session leaves what it refuses for the trace, once, with what plugins said."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from mta.model.errors import TemporaryFailure
from mta.model.verdict import defer, reject
from mta.pipeline.refusals import Refusals
from mta.testing.smtpd import SmtpSite

HELLO = b"EHLO c.test\r\n"
MAIL = b"MAIL FROM:<a@far.test>\r\n"
RCPT = b"RCPT TO:<alice@example.test>\r\n"
PLAIN = base64.b64encode(b"\0alice@example.test\0secret")


def broken(**_: Any) -> None:
    raise TemporaryFailure("the directory is away")


@pytest.mark.parametrize(
    ("hook", "answer", "said", "stage", "state"),
    [
        ("smtp_connect", lambda **_: reject("no"), b"", "connect", "refused"),
        ("smtp_ehlo", lambda **_: reject("no"), HELLO, "ehlo", "refused"),
        ("auth_policy", lambda **_: reject("no"), HELLO + b"AUTH PLAIN " + PLAIN + b"\r\n", "auth", "refused"),
        ("smtp_mail", lambda **_: defer("later"), HELLO + MAIL, "mail", "deferred"),
        ("smtp_rcpt", lambda **_: reject("no"), HELLO + MAIL + RCPT, "rcpt", "refused"),
        ("recipient_lookup", broken, HELLO + MAIL + RCPT, "rcpt", "deferred"),
        ("", None, HELLO + MAIL + b"RCPT TO:<x@else.test>\r\n", "rcpt", "refused"),
        ("smtp_data", lambda **_: defer("later"), HELLO + MAIL + RCPT + b"DATA\r\n", "data", "deferred"),
        ("message_headers", lambda **_: reject("no"), HELLO + MAIL + RCPT + b"DATA\r\n|A: b\r\n\r\n.\r\n", "data", "refused"),
        (
            "message_check",
            lambda **_: reject("no"),
            HELLO + MAIL + RCPT + b"DATA\r\n|Message-ID: <m@x>\r\n\r\n.\r\n",
            "message",
            "refused",
        ),
    ],
)
def test_what_a_stage_refuses(hook: str, answer: Callable[..., Any] | None, said: bytes, stage: str, state: str) -> None:
    async def scenario() -> None:
        site = SmtpSite(plaintext=True)
        refusals = Refusals(None, site.clock, site.log)
        site.server.refusals = refusals
        site.pipeline._refusals = refusals
        if answer is not None:
            site.hook(hook, answer)
        link, transport = site.connect()
        await site.settle(link)
        for piece in said.split(b"|"):
            await site.talk(link, transport, piece)
        [record] = refusals.take()
        assert (record.stage, record.state, record.client) == (stage, state, "192.0.2.1")
        if stage in ("rcpt", "data", "message"):
            assert record.sender == "a@far.test"
            assert record.recipients
            assert record.id
        if stage == "message":
            assert record.message_id == "<m@x>"
        if answer is not None and answer is not broken and stage != "auth":
            assert record.steps[-1]["plugin"] == "fake"

    asyncio.run(scenario())
