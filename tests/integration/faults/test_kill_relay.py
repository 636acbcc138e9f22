"""SIGKILL of everything while mail goes out to a next hop that fails at every step: nothing is lost, and little comes twice."""
# SPDX-License-Identifier: Apache-2.0

import smtplib
import socket

import pytest

from mta.testing.chaos_edit import RIGHT, WRONG, Edits, audit_edits
from mta.testing.chaos_relay import FailingSink, Kill, RelayResult, audit, config_for, kill_while_relaying
from mta.testing.clients import Ledger, compose
from mta.testing.server import MailServer, wait_until
from mta.testing.sink import Ending, Sink

KILLS = 3


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_nothing_is_lost_on_its_way_out(database):
    sink = FailingSink(7)
    with sink.thread(), MailServer({"database": database, **config_for(sink)}) as server:
        result = kill_while_relaying(server, sink, KILLS, seed=11, operator=True)
    print(result)
    assert result.faults == []
    assert result.arrived >= KILLS


def _arrive(sink: FailingSink, name: str, era: int, reply: str | None, then="", *, about: str = "") -> None:
    mail = "MAIL FROM:<>" if about else "MAIL FROM:<load@client.test>"
    head = f"Message-ID: {name}\r\n\r\n" + (f"Message-ID: {about}\r\n" if about else "")
    ending = Ending(mail, head.encode(), 1.0 + era, 0, reply, 1.5 + era if reply else 0.0, then)
    sink.era = era
    sink.ends(ending)


def test_the_audit_sees_what_is_wrong():
    sink, result = FailingSink(1), RelayResult()
    names = ["lost", "told", "twice", "unheard", "unread", "read", "later", "refused", "early"]
    ledger = Ledger({f"<{name}>": 1.0 for name in names})
    _arrive(sink, "<report>", 0, "250 ok", about="<told>")
    for name, *arrivals in (
        ("<twice>", (0, "250 ok", "next"), (0, "250 ok", "next")),  # its answer was read
        ("<unheard>", (0, None), (0, "250 ok", "next")),
        ("<unread>", (0, "250 ok", "reset"), (1, "250 ok", "next")),
        ("<read>", (0, "250 ok", "closed"), (1, "250 ok", "next")),
        ("<later>", (0, "250 ok", "next"), (1, "250 ok", "next")),  # its result was written
        ("<refused>", (0, "452 full", "next"), (0, "250 ok", "next")),
        ("<early>", (0, "250 ok", "next"), (0, "250 ok", "next")),  # it came again before the kill
        ("<ghost>", (0, "250 ok", "next")),
    ):
        for era, reply, *then in arrivals:
            _arrive(sink, name, era, reply, *then)
    _arrive(sink, "<second>", 1, "250 ok", about="<told>")
    audit(result, ledger, sink, [Kill(77, 2.0, frozenset({"<unread>", "<read>", "<early>"}))])
    assert result.faults == [
        "lost: <lost>",
        "nobody sent: <ghost>",
        "reported 2 times: <told>",
        "2 times: <twice>, answered '250 ok', written, then next; process group 77 was killed 1.000 s after the dot",
        "2 times: <later>, answered '250 ok', written, then next; process group 77 was killed 1.000 s after the dot",
        "2 times: <early>, answered '250 ok', written, then next; process group 77 was killed 1.000 s after the dot",
    ]
    assert result.again == {"not answered": 1, "killed before it read the answer": 1, "killed before it wrote down the answer": 1}
    assert result.unwritten == 0.5


def test_the_audit_sees_which_edits_were_broken():
    def to(address: str, at: float) -> Ending:
        return Ending("MAIL FROM:<load@client.test>", b"", at, 0, "250 ok", at, "next", (f"RCPT TO:<{address}>",))

    edits = Edits(
        {"<lost>", "<told>", "<good>", "<late>", "<both>", "<died>"}, {"<lost>": 5.0, "<told>": 5.0, "<good>": 5.0, "<late>": 5.0}
    )
    arrivals = {
        "<good>": [to(WRONG, 4.0), to(RIGHT, 6.0)],  # the answer to the first was lost
        "<late>": [to(RIGHT, 6.0), to(WRONG, 5.5)],
        "<both>": [to(RIGHT, 6.0), to(WRONG, 7.0)],
        "<died>": [to(WRONG, 7.0)],
        "<unasked>": [to(RIGHT, 6.0)],
        "<never>": [to(WRONG, 6.0)],
    }
    assert sorted(audit_edits(edits, arrivals, {"<told>"})) == [
        f"edited, and {RIGHT} did not get it: <lost>",
        f"nobody asked for {RIGHT}: <unasked>",
        f"{WRONG} got it 0.500 s after {RIGHT} had its place: <late>",
        f"{WRONG} got it 1.000 s after {RIGHT} had its place: <both>",
    ]


@pytest.mark.parametrize("then", ["next", "closed", "reset", "late"])
def test_the_next_hop_knows_what_became_of_its_answer(then):
    endings: list[Ending] = []

    class Noting(Sink):
        def ends(self, ending: Ending) -> None:
            endings.append(ending)

    sink = Noting()
    sink.answer("DOT", "", delay=0.1)
    with sink.thread():
        client = smtplib.SMTP("127.0.0.1", sink.port, timeout=5)
        client.ehlo()
        client.mail("a@client.test")
        client.rcpt("b@out.test")
        client.docmd("DATA")
        client.send(compose("<1@client.test>", "b@out.test") + b".\r\n")
        if then in ("next", "closed"):
            assert client.getreply()[0] == 250
            if then == "next":
                client.noop()
        elif then == "reset":  # it has arrived and nobody reads it
            assert client.sock is not None
            client.sock.recv(1, socket.MSG_PEEK)
        client.close()
        wait_until(lambda: endings and not sink.open, 5, "the end")
    [ending] = endings
    assert (ending.reply, ending.then) == ("250 2.0.0 taken", "reset" if then == "late" else then)
    assert ending.taken
    assert ending.read is (then in ("next", "closed"))
