"""Ways out beside MX: programs, Unix sockets, routes by sender."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.pluginhost.dropin import DropIns
from mta.testing.sink import Sink


@pytest.fixture
def programs(tmp_path):
    """``await programs(r, {"name": text})``: hooks_dir/pipe.d with these."""
    import shutil
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="mta-pipes-", dir="/tmp"))
    folder.chmod(0o755)

    def save(r, **texts):
        (folder / "pipe.d").mkdir(mode=0o755)
        for name, text in texts.items():
            file = folder / "pipe.d" / name
            file.write_text(text)
            file.chmod(0o755)
        DropIns(r.hooks, str(folder)).scan()
        return folder

    yield save
    shutil.rmtree(folder)


def test_a_route_to_a_program(relay, programs):
    async def main():
        async with relay(routes={"fax.test": "pipe:fax", "gone.test": "pipe:gone"}) as r:
            bob = await r.user("bob@here.test")
            folder = programs(
                r, fax='#!/bin/sh\n[ "$RECIPIENT" = no@fax.test ] && { echo "5.1.1 no such number"; exit 67; }\ncat >/dev/null\n'
            )
            await r.queue("1@fax.test", "2@fax.test", "no@fax.test", "x@gone.test")
            [row] = await r.settled()
            assert (row.recipient, row.last_reply) == ("x@gone.test", "451 4.3.5 the program for this address is away")
            [report] = await r.inbox(bob)
            assert b"Final-Recipient: rfc822; no@fax.test" in report
            assert b"no such number" in report
            assert folder.exists()

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["smtp", "lmtp"])
def test_a_unix_socket(relay, tmp_path, scheme):
    path = str(tmp_path / "hop.sock")

    async def main():
        async with Sink(path=path, lmtp=scheme == "lmtp") as sink, relay(routes={"dest.test": f"{scheme}+unix:{path}"}) as r:
            await r.queue("x@dest.test")
            assert await r.settled() == []
            assert sink.commands[0][0].startswith("LHLO" if scheme == "lmtp" else "EHLO")
            assert sink.count == 1

    asyncio.run(main())


def test_the_sender_chooses_the_hop(relay):
    async def main():
        async with Sink() as one, Sink() as two:
            by_sender = {"here.test": f"smtp://127.0.0.1:{one.port}", "news@here.test": f"smtp://127.0.0.1:{two.port}"}
            async with relay(routes_by_sender=by_sender) as r:
                await r.queue("x@dest.test", sender="bob@here.test")
                await r.queue("x@dest.test", sender="news@here.test")
                assert await r.settled() == []
                assert [one.messages[0].mail.split()[1], two.messages[0].mail.split()[1]] == [
                    "FROM:<bob@here.test>",
                    "FROM:<news@here.test>",
                ]

    asyncio.run(main())
