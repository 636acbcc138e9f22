"""NUL comes in by literal8 and goes out by BINARY only (RFC 3516 §4.4; RFC 9051 §4.3.1)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.testing.imapd import ImapSite

HEAD = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
BODY = b"\0 -\x80\n\r\r\n"


@pytest.mark.parametrize(
    "command",
    [
        b"APPEND INBOX ~{%d+}\r\n%b" % (len(HEAD + BODY), HEAD + BODY),
        b"APPEND INBOX CATENATE (TEXT {%d+}\r\n%b TEXT ~{%d+}\r\n%b)" % (len(HEAD), HEAD, len(BODY), BODY),
        b"REPLACE 1 INBOX ~{%d+}\r\n%b" % (len(HEAD + BODY), HEAD + BODY),
    ],
    ids=["append", "catenate", "replace"],
)
def test_binary_parts_become_base64(command: bytes, tmp_path) -> None:
    async def run() -> None:
        (tmp_path / "tmp").mkdir()
        site = await ImapSite(data_dir=str(tmp_path)).open()
        await site.deliver(b"Subject: x\r\n\r\nx\r\n")
        alice = await site.login(b"SELECT INBOX")
        said = await site.talk(*alice, b"a " + command + b"\r\n")
        assert b"\r\na OK" in said, said
        said = await site.talk(*alice, b"b FETCH * (BODY.PEEK[] BINARY.SIZE[1] BINARY.PEEK[1])\r\n")
        shown, _, binary = said.partition(b" BINARY.SIZE[1] ")
        assert b"\0" not in shown
        assert b"Content-Transfer-Encoding: base64\r\n" in shown
        assert binary.startswith(b"%d BINARY[1] ~{%d}\r\n%b)\r\n" % (len(BODY), len(BODY), BODY))
        await site.tasks.close()

    asyncio.run(run())


def test_nul_elsewhere_is_refused(tmp_path) -> None:
    async def run() -> None:
        (tmp_path / "tmp").mkdir()
        site = await ImapSite(data_dir=str(tmp_path)).open()
        alice = await site.login()
        assert (await site.talk(*alice, b"a APPEND INBOX ~{8+}\r\n\r\nab\0cd\n\r\n")).startswith(b"a NO [CANNOT]")
        assert b"b OK" in await site.talk(*alice, b"b APPEND INBOX ~{7+}\r\n\r\nab\xffc\n\r\n")
        await site.tasks.close()

    asyncio.run(run())
