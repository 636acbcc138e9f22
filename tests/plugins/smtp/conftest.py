"""The real server over the real, strict hook host, without sockets: a session through any SMTP door in a few lines."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
from types import ModuleType
from typing import Any

import pytest

from mta.config.sections import Spam, Submission
from mta.model.directory import AuthFail, AuthOk, MailboxTarget
from mta.model.ids import UserId
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta.testing.smtpd import SmtpSite
from mta_hooks import hookimpl

USERS = {"alice": 1, "bob": 2, "carol": 3}
HELLO = {"smtp": "EHLO client.test", "submission": "EHLO client.test", "lmtp": "LHLO client.test", "local": "EHLO client.test"}
PLAIN = base64.b64encode(b"\0alice@example.test\0secret").decode()


@hookimpl
def recipient_lookup(address):
    number = USERS.get(address.local)
    return None if number is None else MailboxTarget(UserId(number), address)


@hookimpl
def auth_verify(username, credential):
    return AuthOk(username, UserId(1)) if credential == "secret" else AuthFail("wrong password")


class Client:
    """Speaks to one connection; ``ask`` returns the last reply line, ``said`` everything."""

    def __init__(self, site: "DoorSite", door: str) -> None:
        self.site, self.door = site, door
        protocol = "submission" if door == "local" else door
        self.link, self.transport = site.connect(protocol, tls=door == "submission", local=door == "local")

    async def greet(self) -> str:
        await self.site.settle(self.link)
        return self.transport.take().decode()

    async def ask(self, *lines: str) -> list[str]:
        """Send lines in one piece and return the reply lines to them."""
        octets = "".join(line + "\r\n" for line in lines).encode()
        return (await self.site.talk(self.link, self.transport, octets)).decode().splitlines()

    async def open(self) -> None:
        """Greet, and log in where that is needed."""
        await self.greet()
        await self.ask(HELLO[self.door])
        if self.door == "submission":
            assert (await self.ask(f"AUTH PLAIN {PLAIN}"))[0].startswith("235")

    async def envelope(self, *recipients: str) -> list[str]:
        await self.ask("MAIL FROM:<alice@example.test>")
        return [(await self.ask(f"RCPT TO:<{r}@example.test>"))[-1] for r in recipients or ("alice",)]

    async def send(self, *recipients: str, message: str = "Subject: x\r\n\r\nbody") -> list[str]:
        """A whole message in one transaction; the replies to its end (or to DATA when that is refused)."""
        await self.envelope(*recipients)
        answer = await self.ask("DATA")
        if not answer[-1].startswith("354"):
            return answer
        return await self.ask(message, ".")

    def hang_up(self) -> None:
        self.link.connection_lost(None)


class DoorSite(SmtpSite):
    def __init__(self, *functions: Any, strict: bool = True, **options: Any) -> None:
        self.messages = RecordingLog()
        plugins = [f if isinstance(f, ModuleType) else plugin_of(f, name=f"p{number}") for number, f in enumerate(functions)]
        host = host_with(*plugins, plugin_of(recipient_lookup, auth_verify, name="accounts"), strict=strict, log=self.messages)
        authors = Submission(from_check="none")  # what these messages say of their author is not what the hooks are asked
        super().__init__(hooks=host, spam=options.pop("spam", None) or Spam(), submission=authors, **options)

    def client(self, door: str) -> Client:
        return Client(self, door)

    async def rest(self) -> None:
        """Let notifications run."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture(params=["smtp", "submission", "lmtp", "local"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site_with() -> type[DoorSite]:
    """``site_with(*hooks)``: each function is a plugin, p0, p1, … in this order."""
    return DoorSite
