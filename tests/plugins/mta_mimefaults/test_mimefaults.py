"""Which structures are faults, and what is said and done about them."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.verdict import Action
from mta.testing.plugins import FakeMessage, FakeSession, host_with
from mta_hooks import AddHeader, RemoveHeader
from mta_mimefaults import Mimefaults
from mta_mimefaults.faults import FAULTS, find

GOOD = (
    b"From: a@b.test\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: multipart/alternative;"
    b' boundary="in ner"\r\n\r\n--in ner\r\n\r\ntext\r\n--in ner--\r\n--outer\r\nContent-Type: image/png; name="p.png"\r\n'
    b'Content-Disposition: attachment; filename="p.png"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\nRA==\r\n--outer--\r\n'
)
CASES = [
    (GOOD, []),
    (b"Subject: x\r\n\r\nplain\r\n", []),
    (b"", []),
    (b"Content-Transfer-Encoding: BASE64\r\n\r\n\r\n", []),
    (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n<b>\r\n", ["double-field"]),
    (b"Subject: a\r\nSubject: b\r\n\r\n", ["double-field"]),
    (GOOD.replace(b"boundary=outer", b"boundary=outer; boundary=other"), ["double-parameter"]),
    (b"Content-Transfer-Encoding: base-64\r\n\r\nQUJD\r\n", ["encoding"]),
    (b"Content-Transfer-Encoding: base64 (really)\r\n\r\nQUJD\r\n", ["encoding"]),
    (GOOD.replace(b"Subject: x", b"Content-Transfer-Encoding: base64"), ["encoding", "base64"]),
    (GOOD.replace(b"QUJD", b"QU!D"), ["base64"]),
    (GOOD.replace(b"RA==", b"RA="), ["base64"]),
    (GOOD.replace(b"QUJD\r\nRA==", b"RA==\r\nQUJD"), ["base64"]),
    (GOOD.replace(b"outer", b"o" * 71), ["boundary"]),
    (GOOD.replace(b"in ner", b"outer"), ["boundary"]),
    (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", ["boundary"]),
    (GOOD.removesuffix(b"--outer--\r\n"), ["open-multipart"]),
    (GOOD.replace(b'filename="p.png"', b'filename="p.exe"'), ["names-differ"]),
    (b"Content-Type: message/partial; id=x; number=1; total=2\r\n\r\nhalf\r\n", ["assembled"]),
    (b"Content-Type: message/external-body; access-type=URL\r\n\r\n\r\n", ["assembled"]),
]


@pytest.mark.parametrize(("octets", "faults"), CASES)
def test_mime_ambiguity(octets: bytes, faults: list[str]) -> None:
    found = find(octets)
    assert set(faults) <= set(found) if faults else found == []


@given(
    st.lists(
        st.sampled_from(
            [GOOD, b"--outer\r\n", b"--outer--\r\n", b"Content-Type: multipart/x; boundary=a\r\n\r\n", b"\r\n\r\n", b"=", b"\0"]
        )
    ).map(b"".join)
)
def test_nothing_raises(octets: bytes) -> None:
    assert set(find(octets)) <= set(FAULTS)


def ask(octets: bytes, origin: str = "smtp", **config: Any) -> tuple[Any, list[Any]]:
    async def run() -> tuple[Any, list[Any]]:
        plugin = Mimefaults()
        plugin.name = "mimefaults"  # type: ignore[attr-defined]  # as its entry point says
        host = host_with(plugin, config=config)
        message = FakeMessage(octets, origin=origin)  # type: ignore[arg-type]
        assert host.message_check is not None
        assert host.message_modify is not None
        decision = await host.message_check.verdict(session=FakeSession(), message=message, recipients=(), results=())
        return decision, await host.message_modify.all(message=message, recipients=())

    return asyncio.run(run())


BAD = b"Content-Type: text/plain\r\nContent-Type: text/html\r\nX-MIME-Faults: none\r\n\r\n"


def test_what_is_found_is_said() -> None:
    decision, answers = ask(BAD)
    assert (decision.verdict, decision.score) == (None, 2.0)
    assert [edit for _, edit in answers] == [RemoveHeader("X-MIME-Faults"), AddHeader("X-MIME-Faults", "double-field")]
    decision, answers = ask(GOOD)
    assert (decision.verdict, decision.score, answers) == (None, 0.0, [])


def test_what_the_config_names_is_refused() -> None:
    decision, _ = ask(BAD, refuse=["double-field"])
    assert decision.verdict.action is Action.REJECT
    assert (decision.verdict.code, decision.verdict.enhanced) == (550, "5.6.0")
    assert ask(BAD, refuse=["base64"])[0].verdict is None


def test_mail_of_ours_and_mail_that_is_too_large_is_let_be() -> None:
    assert ask(BAD, origin="submission")[1] == []
    decision, answers = ask(BAD + b"x" * 70000, largest=65536)
    assert decision.score == 0.0
    assert [edit for _, edit in answers] == [RemoveHeader("X-MIME-Faults"), AddHeader("X-MIME-Faults", "not-looked-at")]
