"""Plays imap/*.txt: each dialogue with every group of client lines in one piece, and again octet by octet.

First line: what it shows and the RFC. ``@ key=value``: the site's options. ``C:`` lines are sent with CRLF, consecutive ones
together. ``S:`` is one line of the server, ``*`` at its end stands for anything; ``S: <close>``: the server hangs up.
``2C:`` and ``2S:`` are a second client of the same account. ``! command``: something happens meanwhile (``HAPPENINGS``).
Whatever the server says must be in the dialogue. ``# `` elsewhere is a remark. The inbox holds MESSAGES.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mta.imapd.connection import Connection
from mta.model.errors import OverQuota, StorageReadOnly, TemporaryFailure
from mta.model.ids import Uid
from mta.model.verdict import Verdict, defer, reject
from mta.testing.imapd import FakeTransport, ImapSite
from mta.testing.smtpd import FakePlan
from mta_hooks.backends import extras_of

FILES = sorted((Path(__file__).parent / "imap").glob("*.txt"))
PLAIN = (
    b"Date: Mon, 3 Jan 2022 10:00:00 +0100\r\nFrom: Alice <alice@example.org>\r\nTo: bob@example.org\r\n"
    b"Subject: plain\r\nMessage-ID: <1@example.org>\r\n\r\nhello world\r\n"
)
MIXED = (
    b"From: =?utf-8?q?Ren=C3=A9?= <rene@example.org>\r\nSubject: =?iso-8859-1?Q?gr=FC=DFe?=\r\nDate: Tue, 4 Jan 2022 23:30:00 -0500\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nZ3LDvMOfZSBhdXMgS8O2bG4=\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\n"
)
QUOTED = (
    b"From: carol@example.net\r\nSubject: long\r\n folded subject\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 and a soft=\r\nbreak\r\n"
)
MESSAGES = [PLAIN, MIXED, QUOTED]
DATE = 1_641_200_000  # 3-Jan-2022 08:53:20 +0000


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("pieces", ["whole", "octets"])
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_transcript(path: Path, pieces: str) -> None:
    asyncio.run(Play(path, octets=pieces == "octets").run())


class Play:
    """One dialogue."""

    def __init__(self, path: Path, *, octets: bool) -> None:
        self.name = path.name
        self.lines = path.read_text("utf-8").splitlines()
        self.octets = octets
        assert self.lines[0].startswith("# "), "the first line says what it shows"
        chosen = dict(word.split("=", 1) for line in self.lines if line.startswith("@ ") for word in line[2:].split())
        self.implicit_tls = chosen.pop("tls", "no") == "yes"
        self.site = ImapSite(plaintext=chosen.pop("plaintext", "yes") == "yes", **{k: int(v) for k, v in chosen.items()})
        self.clients: dict[str, tuple[Connection, FakeTransport, list[str]]] = {}

    async def run(self) -> None:
        await self.site.open()
        for number, octets in enumerate(MESSAGES):
            await self.site.deliver(octets, date=DATE + 86400 * number, flags=1 if number == 1 else 0)
        number = 0
        while number < len(self.lines):
            line = self.lines[number]
            who, kind = ("2", line[1:3]) if line.startswith("2") else ("1", line[:2])
            if kind == "C:":
                piece = b""
                prefix = "2C:" if who == "2" else "C:"
                while number < len(self.lines) and self.lines[number].startswith(prefix):
                    piece += self.lines[number][len(prefix) + 1 :].encode() + b"\r\n"
                    number += 1
                await self.send(who, piece)
                continue
            if kind == "S:":
                await self.expect(who, line[line.index(":") + 2 :], number + 1)
            elif kind == "! ":
                await self.happen(line[2:].split())
            number += 1
        for who in self.clients:
            self.expect_silence(who)
        await self.site.tasks.close()

    async def client(self, who: str) -> tuple[Connection, FakeTransport, list[str]]:
        if who not in self.clients:
            link, transport = self.site.connect(tls=self.implicit_tls)
            await self.site.settle(link)
            self.clients[who] = (link, transport, [])
        return self.clients[who]

    async def send(self, who: str, piece: bytes) -> None:
        link, _, _ = await self.client(who)
        self.expect_silence(who)
        for part in [piece[i : i + 1] for i in range(len(piece))] if self.octets else [piece]:
            link.data_received(part)
            await self.site.settle(link)

    async def expect(self, who: str, wanted: str, number: int) -> None:
        _, transport, said = await self.client(who)
        where = f"{self.name}:{number}"
        said += transport.take().decode().split("\r\n")[:-1]
        if wanted == "<close>":
            assert transport.gone, f"{where}: the server holds on"
            return
        assert said, f"{where}: nothing was said, wanted {wanted!r}"
        got = said.pop(0)
        matches = got.startswith(wanted[:-1]) if wanted.endswith("*") else got == wanted
        assert matches, f"{where}: wanted {wanted!r}, got {got!r} and then {said[:3]}"

    def expect_silence(self, who: str) -> None:
        _, transport, said = self.clients[who]
        more = said + transport.take().decode().split("\r\n")[:-1]
        assert not more, f"{self.name}: not in the transcript: {more}"

    async def happen(self, words: list[str]) -> None:
        """deliver | flag UID BIT | expunge UID | drop NAME | quota OCTETS | messages LIMIT | annotate WHOSE ENTRY TEXT |
        fail METHOD KIND | veto HOOK none, reject or defer TEXT"""
        store, site = self.site.database.store, self.site
        if words[0] == "deliver":
            await site.deliver(PLAIN, date=DATE)
        elif words[0] == "flag":
            await store.set_flags(await site.mailbox(), [Uid(int(words[1]))], "add", int(words[2]), frozenset(words[3:]))
        elif words[0] == "expunge":
            await store.remove(await site.mailbox(), [Uid(int(words[1]))])
        elif words[0] == "drop":
            await store.delete(site.users["alice@example.test"], words[1])
        elif words[0] == "quota":
            await site.database.directory.set_quota(site.users["alice@example.test"], int(words[1]))
        elif words[0] == "messages":
            await extras_of(store).quotas.set_message_limit(site.users["alice@example.test"], int(words[1]))
        elif words[0] == "annotate":
            user = site.users["alice@example.test"] if words[1] == "private" else None
            await extras_of(store).annotations.annotate(None, user, {words[2]: " ".join(words[3:]).encode()}, most=100)
        elif words[0] == "fail":
            self.fail_once(words[1], FAILURES[words[2]])
        elif words[0] == "veto":
            verdict = VERDICTS[words[2]](" ".join(words[3:]))
            setattr(site.hooks, words[1], verdict and FakePlan(lambda **_: verdict))
        else:
            raise AssertionError(words)
        for link, _, _ in self.clients.values():
            await site.settle(link)

    def fail_once(self, method: str, failure: Exception) -> None:
        store = self.site.store
        right = getattr(store, method)

        async def fail(*_arguments: object, **_named: object) -> None:
            setattr(store, method, right)
            raise failure

        setattr(store, method, fail)


FAILURES: dict[str, Exception] = {
    "temporary": TemporaryFailure("database away"),
    "readonly": StorageReadOnly("read-only"),
    "full": OverQuota("full"),
    "bug": ZeroDivisionError("secret detail"),
}
VERDICTS: dict[str, Callable[[str], Verdict | None]] = {"none": lambda _: None, "reject": reject, "defer": defer}
