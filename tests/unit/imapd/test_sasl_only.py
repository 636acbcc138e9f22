"""Where only mechanisms without passwords are offered, LOGIN, USER and PASS are gone too."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta.config.sections import Auth
from mta.testing.imapd import ImapSite
from mta.testing.pop3d import Pop3Site


def test_imap_and_pop3_take_no_password():
    async def scenario():
        site = await ImapSite().open()
        site.server.sasl._auth = Auth(mechanisms=("SCRAM-SHA-256",))
        link, transport = site.connect()
        said = [transport.take(), await site.talk(link, transport, b"a LOGIN alice@example.test secret\r\n")]
        await site.tasks.close()
        pop = Pop3Site([b"x"])
        pop.server.sasl._auth = Auth(mechanisms=("SCRAM-SHA-256",))
        link, transport = pop.connect()
        transport.take()
        said += [await pop.talk(link, transport, line) for line in (b"CAPA\r\n", b"USER alice@example.test\r\n")]
        await pop.tasks.close()
        return said

    greeting, login, capa, user = asyncio.run(scenario())
    assert b"LOGINDISABLED" in greeting
    assert login == b"a NO [CANNOT] not possible here, use AUTHENTICATE\r\n"
    assert b"\r\nUSER\r\n" not in capa
    assert user == b"-ERR not possible here, use AUTH\r\n"
