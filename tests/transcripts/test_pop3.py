"""Plays pop3/*.txt: each dialogue with every group of client lines in one piece, and again octet by octet.

First line: what it shows and the RFC. ``@ key=value``: the site's options; ``@ hook=reject:some_text``: what a plugin says. ``C:`` lines are sent with CRLF, consecutive ones
together. ``S:`` is one line of the server, ``*`` at its end stands for anything; ``S: <close>``: the server hangs up.
Whatever the server says must be in the dialogue. ``# `` elsewhere is a remark. The inbox holds MESSAGES.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path

import pytest

from mta.model.verdict import defer, reject
from mta.testing.pop3d import FakeTransport, Pop3Site
from mta.testing.smtpd import FakePlan

FILES = sorted((Path(__file__).parent / "pop3").glob("*.txt"))
MESSAGES = [
    b"Subject: one\r\n\r\nfirst line\r\nsecond line\r\nthird line\r\n",
    b"Subject: dots\r\n\r\n.\r\n..two\r\nplain\r\n.",
    b"Subject: empty\r\n\r\n",
]


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("pieces", ["whole", "octets"])
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_transcript(path: Path, pieces: str) -> None:
    asyncio.run(play(path, octets=pieces == "octets"))


async def play(path: Path, *, octets: bool) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# "), "the first line says what it shows"
    chosen = dict(word.split("=", 1) for line in lines if line.startswith("@ ") for word in line[2:].split())
    site = Pop3Site(MESSAGES, plaintext=chosen.get("plaintext", "yes") == "yes")
    for hook in chosen.keys() & site.hooks.__dict__.keys():
        action, text = chosen[hook].split(":")
        verdict = {"reject": reject, "defer": defer}[action](text.replace("_", " "))
        setattr(site.hooks, hook, FakePlan(lambda verdict=verdict, **_: verdict))
    link, transport = site.connect(tls=chosen.get("tls") == "yes")
    await site.settle(link)
    said: list[str] = []
    number = 0
    while number < len(lines):
        kind = lines[number][:2]
        if kind == "C:":
            piece = b""
            while number < len(lines) and lines[number].startswith("C:"):
                piece += lines[number][3:].encode() + b"\r\n"
                number += 1
            expect_silence(said, transport)
            for part in [piece[i : i + 1] for i in range(len(piece))] if octets else [piece]:
                link.data_received(part)
                await site.settle(link)
            continue
        if kind == "S:":
            said += transport.take().decode().split("\r\n")[:-1]
            expect(lines[number][3:], said, transport, f"{path.name}:{number + 1}")
        number += 1
    expect_silence(said, transport)
    await site.tasks.close()


def expect(wanted: str, said: list[str], transport: FakeTransport, where: str) -> None:
    if wanted == "<close>":
        assert transport.gone, f"{where}: the server holds on"
        return
    assert said, f"{where}: nothing was said, wanted {wanted!r}"
    got = said.pop(0)
    matches = got.startswith(wanted[:-1]) if wanted.endswith("*") else got == wanted
    assert matches, f"{where}: wanted {wanted!r}, got {got!r}"


def expect_silence(said: list[str], transport: FakeTransport) -> None:
    more = said + transport.take().decode().split("\r\n")[:-1]
    assert not more, f"not in the transcript: {more}"
