"""Hooks of the conversation before DATA: called where and with what their specifications say, through every door."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64

import pytest

from mta_hooks import accept, defer, discard, hold, hookimpl, quarantine, reject


def run(work):
    return asyncio.run(work)


def login(user="alice@example.test", password="secret"):
    return "AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode()


async def greeted(site, door="submission"):
    client = site.client(door)
    await client.greet()
    await client.ask("LHLO c" if door == "lmtp" else "EHLO c")
    return client


def test_auth_policy_stops_a_login_before_the_password_is_tried(site_with) -> None:
    asked, tried = [], []

    @hookimpl
    def auth_policy(session, mechanism, username):
        asked.append((session.protocol, mechanism, username))
        return reject("locked out")

    @hookimpl
    def auth_verify(username):
        tried.append(username)

    async def work():
        site = site_with(auth_policy, auth_verify)
        client = await greeted(site)
        assert await client.ask(login()) == ["535 5.7.8 locked out"]
        assert await client.ask("AUTH LOGIN", "YWxpY2U=", "eA==") == [
            "334 VXNlcm5hbWU6",
            "334 UGFzc3dvcmQ6",
            "535 5.7.8 locked out",
        ]
        assert client.link.failures == 2

    run(work())
    assert asked == [("submission", "PLAIN", "alice@example.test"), ("submission", "LOGIN", "alice")]
    assert tried == []


@pytest.mark.parametrize(
    ("verdict", "wanted"),
    [
        (defer("later"), "454 4.7.1 later"),
        (reject("no TLS", code=538, enhanced="5.7.11"), "538 5.7.11 no TLS"),
        (accept(), "235 2.7.0 authentication successful"),
        (None, "235 2.7.0 authentication successful"),
    ],
)
@pytest.mark.parametrize("hook", ["auth_policy", "session_login"])
def test_verdicts_on_a_login(site_with, hook, verdict, wanted) -> None:
    names = []

    @hookimpl(specname=hook)
    def judge(session):
        names.append(session.user)
        return verdict

    async def work():
        site = site_with(judge)
        client = await greeted(site)
        assert await client.ask(login()) == [wanted]
        assert client.link.peer.user == ("alice@example.test" if wanted.startswith("235") else "")
        assert len(client.link.peer.steps) == (verdict is not None)

    run(work())
    assert names == [""]


def test_auth_result_tells_every_outcome(site_with) -> None:
    told = []

    @hookimpl
    def auth_result(session, username, ok, reason):
        told.append((username, ok, reason))
        raise RuntimeError("errors never touch mail")

    @hookimpl
    def auth_policy(username):
        return reject("no") if username == "mallory" else None

    @hookimpl
    def session_login(user):
        return defer("closed") if user == "bob@example.test" else None

    async def work():
        site = site_with(auth_result, auth_policy, session_login)
        client = await greeted(site)
        for user, password in (
            ("mallory", "x"),
            ("alice@example.test", "bad"),
            ("bob@example.test", "secret"),
            ("alice@example.test", "secret"),
        ):
            reply = await client.ask(login(user, password))
        assert reply == ["235 2.7.0 authentication successful"]
        await site.rest()

    run(work())
    assert told == [
        ("mallory", False, "policy"),
        ("alice@example.test", False, "wrong password"),
        ("bob@example.test", False, "policy"),
        ("alice@example.test", True, ""),
    ]


def test_capabilities_pass_from_one_plugin_to_the_next(site_with, door) -> None:
    @hookimpl
    def smtp_capabilities(session, capabilities):
        assert session.helo
        return [c for c in capabilities if c != "HELP"]

    @hookimpl(specname="smtp_capabilities")
    def more(capabilities):
        assert "HELP" not in capabilities
        return [*capabilities, "XCLIENT NAME ADDR"]

    async def work():
        client = site_with(smtp_capabilities, more).client(door)
        await client.greet()
        lines = await client.ask("LHLO c" if door == "lmtp" else "EHLO c")
        assert lines[0] == "250-mx.example.test"
        assert lines[-1] == "250 XCLIENT NAME ADDR"
        assert "250-HELP" not in lines

    run(work())


@pytest.mark.parametrize("answer", [["X\r\n250 OK"], ["é"], [""], "HELP", [1]])
def test_a_line_that_is_no_capability_is_left_out_and_logged(site_with, answer) -> None:
    @hookimpl
    def smtp_capabilities():
        return answer

    async def work():
        site = site_with(smtp_capabilities, strict=False)
        client = site.client("smtp")
        await client.greet()
        assert (await client.ask("EHLO c"))[-1] == "250 HELP"
        assert [e for _, e, _ in site.messages.lines] == ["plugin.bad_verdict"]

    run(work())


def test_a_second_policy_is_for_another_transaction_on_the_mx_only(site_with, door) -> None:
    asked = []

    @hookimpl
    def rcpt_policy_key(session, transaction, recipient):
        asked.append((session.protocol, [r.address.local for r in transaction.recipients], recipient.local))
        return {"alice": "strict", "bob": "lax"}.get(recipient.local)

    async def work():
        site = site_with(rcpt_policy_key)
        client = site.client(door)
        await client.open()
        replies = await client.envelope("carol", "alice", "bob", "alice", "nobody")
        ok = "250 2.1.5 recipient ok"
        if door == "smtp":
            assert replies[:4] == [ok, ok, "452 4.5.3 this recipient has other rules, send it in another transaction", ok]
        else:
            assert replies[:4] == [ok] * 4
        assert replies[4].startswith("550 5.1.1")

    run(work())
    wanted = [("smtp", [], "carol"), ("smtp", ["carol"], "alice"), ("smtp", ["carol", "alice"], "bob")]
    assert asked == ([*wanted, ("smtp", ["carol", "alice"], "alice")] if door == "smtp" else [])


@pytest.mark.parametrize("verdict", [reject("no"), defer("later"), accept(), quarantine("q"), hold("h"), discard("d"), None])
def test_smtp_data(site_with, door, verdict) -> None:
    asked = []

    @hookimpl
    def smtp_data(session, transaction):
        asked.append((session.protocol, [str(r.address) for r in transaction.recipients]))
        return verdict

    async def work():
        site = site_with(smtp_data)
        client = site.client(door)
        await client.open()
        replies = await client.send("alice")
        if verdict is not None and verdict.code:
            assert replies == [str(verdict.reply())]
            assert await client.ask("MAIL FROM:<alice@example.test>") == ["250 2.1.0 sender ok"]
            return
        assert replies[-1].startswith("250 2.0.0 queued")
        (intake,) = site.spool.accepted
        assert [s["hook"] for s in intake.trace if "hook" in s] == ["smtp_data"] * (verdict is not None)
        folders = [d.placement.folder for d in intake.deliveries]
        assert folders == {"quarantine": ["Junk"], "hold": [], "discard": []}.get(verdict and str(verdict.action), ["INBOX"])
        assert [q.hold for q in intake.queued] == (["h"] if verdict == hold("h") else [])

    run(work())
    assert asked == [(door, ["alice@example.test"])]


def test_octets_sent_while_smtp_data_thinks_are_improper_pipelining(site_with) -> None:
    @hookimpl
    async def smtp_data():
        await asyncio.sleep(0.01)

    async def work():
        site = site_with(smtp_data)
        client = site.client("smtp")
        await client.open()
        await client.envelope("alice")
        client.link.data_received(b"DATA\r\n")
        client.link.data_received(b"Subject: smuggled\r\n")
        while client.link.working:
            await asyncio.sleep(0.005)
        assert client.transport.take().startswith(b"503 5.5.0")
        assert client.transport.gone

    run(work())


def test_each_transaction_and_connection_is_told_its_end_once(site_with, door) -> None:
    told = []

    @hookimpl
    async def smtp_reset(session, reason, transaction):
        await asyncio.sleep(0)
        told.append((session.protocol, reason, len(transaction.recipients)))

    @hookimpl
    def smtp_disconnect(session, reason):
        told.append((session.protocol, reason))

    @hookimpl
    def smtp_data(transaction):
        return reject("no") if len(transaction.recipients) == 3 else None

    async def work():
        site = site_with(smtp_reset, smtp_disconnect, smtp_data)
        client = site.client(door)
        await client.open()
        await client.ask("RSET")
        await client.envelope("alice", "bob")
        await client.ask("RSET")
        await client.send("alice")
        await client.envelope("bob")
        await client.ask("LHLO c" if door == "lmtp" else "EHLO c")
        await client.send("alice", "bob", "carol")
        await client.envelope("bob")
        await client.ask("QUIT")
        client.hang_up()
        await site.rest()

    run(work())
    resets = [(door, reason, n) for reason, n in (("rset", 2), ("message", 1), ("ehlo", 1), ("refused", 3), ("disconnect", 1))]
    assert sorted(map(str, told)) == sorted(map(str, [*resets, (door, "quit")]))


@pytest.mark.parametrize(
    ("how", "reason"), [("gone", "lost"), ("idle", "timeout"), ("drain", "shutdown"), ("errors", "errors"), ("full", "refused")]
)
def test_why_a_connection_ended(site_with, how, reason) -> None:
    told = []

    @hookimpl
    def smtp_disconnect(session, reason):
        told.append(reason)

    async def work():
        site = site_with(smtp_disconnect, limits={"connections": 1 if how == "full" else 10, "errors": 3})
        client = site.client("smtp")
        if how == "full":
            client = site.client("smtp")
        await client.greet()
        if how == "idle":
            site.clock.advance(10_000)
            site.server._look()
        elif how == "drain":
            await site.server.drain(0.0)
        elif how == "errors":
            await client.ask("X", "X", "X")
        client.hang_up()
        await site.rest()
        assert told == [reason]
        client.link.connection_lost(None)
        await site.rest()

    run(work())
    assert told == [reason]


@pytest.mark.parametrize(
    ("verdict", "wanted"), [(reject("weak"), b"554 5.7.1 weak"), (defer("later"), b"421 4.7.1 later"), (None, b"220 ")]
)
def test_smtp_tls_before_the_greeting(site_with, verdict, wanted) -> None:
    asked = []

    @hookimpl
    def smtp_tls(session, tls):
        asked.append((session.tls, tls.certificate))
        return verdict

    async def work():
        client = site_with(smtp_tls).client("submission")
        assert (await client.greet()).encode().startswith(wanted)
        plain = site_with(smtp_tls).client("smtp")
        assert (await plain.greet()).startswith("220 ")

    run(work())
    assert asked == [(True, None)]


def test_one_that_waits_after_one_that_does_not_has_a_task_of_its_own(site_with) -> None:
    tasks = []

    @hookimpl
    def smtp_ehlo():
        return None

    @hookimpl
    async def smtp_capabilities(capabilities):
        async with asyncio.timeout(5):
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0.001)
        return [*capabilities, "XWAITED"]

    async def work():
        client = site_with(smtp_ehlo, smtp_capabilities).client("smtp")
        await client.greet()
        assert "XWAITED" in "".join(await client.ask("EHLO c"))
        assert tasks[0] is not asyncio.current_task()

    run(work())
