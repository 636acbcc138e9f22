"""Random walks of two clients and somebody else on one mailbox: what each client was told is what the mailbox holds.

The clients believe only untagged EXISTS, EXPUNGE, VANISHED and FETCH. An EXPUNGE that comes where it must not, a flag change that is not
told, a number that is off by one: all end in a client that believes something else than the store.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.imapd.connection import Connection
from mta.model.ids import Uid
from mta.testing.imapd import FakeTransport, ImapSite
from mta.wire.imap.flags import encode_flags

FLAGS = ["\\Seen", "\\Deleted", "\\Flagged", "$a", "$b"]
_FETCH = re.compile(r"\* (\d+) FETCH \((.*)\)$")
_FLAGS = re.compile(r"FLAGS \(([^)]*)\)")
_UID = re.compile(r"UID (\d+)")


class Client:
    """Believes what it is told."""

    def __init__(self, site: ImapSite, mode: str) -> None:
        self.site = site
        self.mode = mode
        self.link: Connection
        self.transport: FakeTransport
        self.known: list[dict[str, object]] = []

    async def open(self) -> None:
        enable = {"rev1": [], "rev2": [b"ENABLE IMAP4rev2"], "qresync": [b"ENABLE QRESYNC"]}[self.mode]
        self.link, self.transport = await self.site.login(*enable)
        await self.say("SELECT INBOX")

    async def say(self, command: str, *, may_expunge: bool = True) -> None:
        octets = await self.site.talk(self.link, self.transport, f"t {command}\r\n".encode())
        self.hear(octets, may_expunge=may_expunge)
        if self.mode == "qresync" and any("uid" not in message for message in self.known):
            self.hear(await self.site.talk(self.link, self.transport, b"t UID FETCH 1:* (UID)\r\n"))  # as such clients do
        assert octets.splitlines()[-1].startswith(b"t OK"), octets

    def hear(self, octets: bytes, *, may_expunge: bool = True) -> None:
        for line in octets.decode().splitlines():
            if line.endswith(" EXISTS"):
                count = int(line.split()[1])
                assert count >= len(self.known), "EXISTS never shrinks: RFC 9051 §7.4.1"
                self.known += [{} for _ in range(count - len(self.known))]
            elif line.endswith(" EXPUNGE"):
                assert may_expunge, "EXPUNGE during a command by number"
                del self.known[int(line.split()[1]) - 1]
            elif line.startswith("* VANISHED ") and "(EARLIER)" not in line:
                assert may_expunge
                gone = set()
                for part in line.split()[2].split(","):
                    low, _, high = part.partition(":")
                    gone |= set(range(int(low), int(high or low) + 1))
                self.known = [m for m in self.known if m.get("uid") not in gone]
            elif found := _FETCH.match(line):
                message = self.known[int(found[1]) - 1]
                if uid := _UID.search(found[2]):
                    assert message.setdefault("uid", int(uid[1])) == int(uid[1])
                if flags := _FLAGS.search(found[2]):
                    message["flags"] = frozenset(flags[1].split()) - {"\\Recent"}


STEP = st.one_of(
    st.just(("deliver",)),
    st.tuples(
        st.sampled_from(["store", "silent", "uidstore", "other"]),
        st.integers(0, 1),
        st.integers(1, 6),
        st.sampled_from(FLAGS),
        st.booleans(),
    ),
    st.tuples(st.sampled_from(["expunge", "noop", "fetch", "search", "uidfetch", "idle", "reselect", "move"]), st.integers(0, 1)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STEP, max_size=25),
    st.sampled_from(["rev1", "rev2", "qresync"]),
    st.sampled_from(["rev1", "rev2", "qresync"]),
    st.integers(0, 4),
)
def test_clients_believe_what_is_there(steps: list[tuple[object, ...]], first: str, second: str, messages: int) -> None:
    asyncio.run(walk(steps, first, second, messages))


async def walk(steps: list[tuple[object, ...]], first: str, second: str, messages: int) -> None:
    site = await ImapSite().open()
    await site.deliver(*[b"Subject: x\r\n\r\n"] * messages)
    clients = [Client(site, first), Client(site, second)]
    for client in clients:
        await client.open()
    for step in steps:
        await take(site, clients, step)
    inbox = await site.mailbox()
    for client in clients:
        if client.link.session.idling:
            client.hear(client.transport.take())
            client.hear(await site.talk(client.link, client.transport, b"DONE\r\n"))
        await client.say("NOOP")
        rows = list(site.memory.data.mailboxes[inbox].rows.values())
        assert len(client.known) == len(rows)
        for believed, row in zip(client.known, rows, strict=True):
            assert believed.get("uid", row.uid) == row.uid
            if "flags" in believed:
                assert believed["flags"] == frozenset(encode_flags(row.flags, row.keywords).decode().split())
        before = [dict(m) for m in client.known]
        await client.say("UID FETCH 1:* (UID FLAGS)")
        for believed, shown in zip(before, client.known, strict=True):
            assert believed.items() <= shown.items()
    await site.tasks.close()


async def take(site: ImapSite, clients: list[Client], step: tuple[object, ...]) -> None:
    store, inbox = site.database.store, await site.mailbox()
    kind = step[0]
    if kind == "deliver":
        await site.deliver(b"Subject: new\r\n\r\nx\r\n")
    elif kind == "remove":
        uids = sorted(site.memory.data.mailboxes[inbox].rows)
        await store.remove(inbox, uids[int(str(step[1])) :][:1])
    elif kind == "other":
        uids = sorted(site.memory.data.mailboxes[inbox].rows)
        flag = str(step[3])
        bit = {"\\Seen": 1, "\\Deleted": 8, "\\Flagged": 4}.get(flag, 0)
        words = frozenset() if bit else frozenset({flag})
        await store.set_flags(inbox, [Uid(u) for u in uids[: int(str(step[2]))]], "add" if step[4] else "remove", bit, words)
    else:
        client = clients[int(str(step[1]))]
        if client.link.session.idling:
            client.hear(client.transport.take())
            client.hear(await site.talk(client.link, client.transport, b"DONE\r\n"))
        await act(client, kind, step)
    for client in clients:
        await site.settle(client.link)


async def act(client: Client, kind: object, step: tuple[object, ...]) -> None:
    if kind in ("store", "silent", "uidstore"):
        number, flag, sign = int(str(step[2])), str(step[3]), "+" if step[4] else "-"
        if kind != "uidstore" and number > len(client.known):
            return
        verb = "UID STORE" if kind == "uidstore" else "STORE"
        silent = ".SILENT" if kind == "silent" else ""
        await client.say(f"{verb} {number} {sign}FLAGS{silent} ({flag})", may_expunge=kind == "uidstore")
        if silent and number <= len(client.known):  # the client knows what it asked for
            message = client.known[number - 1]
            if isinstance(flags := message.get("flags"), frozenset):
                message["flags"] = flags | {flag} if step[4] else flags - {flag}
                # what others changed meanwhile was told after the answer and is already in "flags"
    elif kind == "idle" and client.mode != "qresync":
        client.hear(await client.site.talk(client.link, client.transport, b"t IDLE\r\n"))
    elif kind == "fetch":
        if client.known:
            await client.say("FETCH 1:* (UID FLAGS)", may_expunge=False)
    elif kind == "search":
        await client.say("SEARCH UNSEEN", may_expunge=False)
    elif kind == "uidfetch":
        await client.say("UID FETCH 1:* (FLAGS)")
    elif kind == "move":
        await client.say("UID MOVE 1 Trash")
    elif kind == "reselect":
        client.known = []
        await client.say("SELECT INBOX")
    else:
        await client.say("EXPUNGE" if kind == "expunge" else "NOOP")
