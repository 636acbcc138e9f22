"""Plays smtp/*.txt: each dialogue with every group of client lines in one piece, and again octet by octet.

First line: what it shows and the RFC. ``@ key=value``: how the site is set up. ``C:`` lines are sent with CRLF, consecutive
ones together; ``C! `` lines are sent as they are, with Python escapes. ``S:`` is one line of the server, ``*`` at its end
stands for anything; ``S: <close>``: the server hangs up. Whatever the server says must be in the dialogue.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from pathlib import Path

import pytest

from mta.config.sections import Smtp
from mta.testing.smtpd import FakeTransport, SmtpSite

FILES = sorted((Path(__file__).parent / "smtp").glob("*.txt"))


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 15


@pytest.mark.parametrize("pieces", ["whole", "octets"])
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_transcript(path: Path, pieces: str) -> None:
    asyncio.run(play(path, octets=pieces == "octets"))


def options(lines: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for line in lines if line.startswith("@ ") for word in line[2:].split())


def site_for(chosen: dict[str, str]) -> SmtpSite:
    limits = {key: int(chosen[key]) for key in ("recipients", "message_size", "errors") if key in chosen}
    lists = {key: tuple(chosen[key].split(",")) for key in ("etrn", "xclient") if key in chosen}
    site = SmtpSite(
        smtp=Smtp(**lists),
        relay=("192.0.2.0/24",) if "relay" in chosen else (),
        plaintext="plaintext" in chosen,
        limits=limits,
        aliases={"sales@example.test": ("alice@example.test", "far@elsewhere.test")},
    )
    site.server.flush = flush
    return site


async def flush(_domain: str) -> int:
    return 1


async def play(path: Path, *, octets: bool) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# "), "the first line says what it shows"
    chosen = options(lines)
    site = site_for(chosen)
    link, transport = site.connect(chosen.get("protocol", "smtp"), tls=chosen.get("tls") == "yes")
    await site.settle(link)
    said: list[str] = []
    number = 0
    while number < len(lines):
        kind = lines[number][:2]
        if kind in ("C:", "C!"):
            piece = b""
            while number < len(lines) and lines[number][:2] in ("C:", "C!"):
                piece += encode(lines[number])
                number += 1
            nothing_else(said, transport)
            for part in [piece[i : i + 1] for i in range(len(piece))] if octets else [piece]:
                link.data_received(part)
                await site.settle(link)
            continue
        if kind == "S:":
            said += transport.take().decode("utf-8").split("\r\n")[:-1]
            expect(lines[number][3:], said, transport, f"{path.name}:{number + 1}")
        number += 1
    nothing_else(said, transport)
    await site.tasks.close()


def nothing_else(said: list[str], transport: FakeTransport) -> None:
    unexpected = "\n".join(said) or transport.written.decode("utf-8")
    assert not unexpected, "said, but not in the transcript"


def encode(line: str) -> bytes:
    if line.startswith("C!"):
        return line[3:].encode("latin-1").decode("unicode_escape").encode("latin-1")
    return line[3:].encode("utf-8") + b"\r\n"


def expect(wanted: str, said: list[str], transport: FakeTransport, where: str) -> None:
    if wanted == "<close>":
        assert transport.gone, f"{where}: the server holds on"
        return
    assert said, f"{where}: nothing was said, wanted {wanted!r}"
    got = said.pop(0)
    matches = got.startswith(wanted[:-1]) if wanted.endswith("*") else got == wanted
    assert matches, f"{where}: wanted {wanted!r}, got {got!r}"
