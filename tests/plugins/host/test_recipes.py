"""Every recipe of docs/plugin-authors/recipes.md is a file that loads and does what its paragraph says."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.message import Flags, Placement, Recipient
from mta.testing.plugins import FakeMessage, FakeSession, FakeTransaction, Sent, host_with
from mta_hooks import AddRecipient, ReplaceHeader, Route, SetBody

PAGE = Path(__file__).resolve().parents[3] / "docs/plugin-authors/recipes.md"
RECIPES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
BOB, ANN = Address.parse("bob@example.test"), Address.parse("ann@elsewhere.test")
CHECKS: dict[str, Callable[[], None]] = {}


def load(name: str, config: dict[str, Any] | None = None, **services: Any) -> Any:
    module = type(asyncio)(name)
    exec(compile(RECIPES[name], f"{name}.py", "exec"), vars(module))
    return host_with(module, config=config, **services)


def ask(plan: Any, way: str = "verdict", **arguments: Any) -> Any:
    return asyncio.run(getattr(plan, way)(**arguments))


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


@check
def no_freemail() -> None:
    hook = load("no_freemail", {"freemail": ["elsewhere.test"]}).smtp_rcpt
    arguments = {"session": FakeSession(), "transaction": FakeTransaction(sender=ANN), "params": {}}
    assert ask(hook, recipient=Address.parse("orders@example.test"), **arguments).verdict.code == 550
    assert ask(hook, recipient=BOB, **arguments).verdict is None


@check
def karma() -> None:
    hook = load("karma").message_check
    arguments = {"recipients": [Recipient(BOB, BOB)], "results": []}
    assert ask(hook, session=FakeSession(helo="x"), message=FakeMessage(), **arguments).score == 3.0
    good = FakeMessage(b"Message-ID: <1@a>\r\nSubject: x\r\n\r\n")
    assert ask(hook, session=FakeSession(), message=good, **arguments).score == 0.0


@check
def known_bad() -> None:
    bad = hashlib.sha256(b"evil octets").hexdigest()
    hook = load("known_bad", {"sha256": [bad]}).message_sink
    for pieces, refused in (((b"evil ", b"octets"), True), ((b"good ", b"octets"), False)):
        [(_, sink)] = ask(hook, "all", session=FakeSession(), transaction=FakeTransaction())
        for piece in pieces:
            sink.feed(piece)
        assert (sink.close() is not None) is refused


@check
def external() -> None:
    hook = load("external").message_modify
    arguments = {"recipients": [Recipient(BOB, BOB)]}
    assert [e for _, e in ask(hook, "all", message=FakeMessage(), **arguments)] == [ReplaceHeader("Subject", "[external] hello")]
    assert ask(hook, "all", message=FakeMessage(b"Subject: [external] x\r\n\r\n"), **arguments) == []


@check
def rules() -> None:
    hook = load("rules").mailbox_deliver

    def placed(octets: bytes) -> Placement:
        answer: Placement = ask(
            hook,
            "pipeline",
            name="placement",
            user="bob@example.test",
            recipient=BOB,
            message=FakeMessage(octets),
            placement=Placement(),
        )
        return answer

    assert placed(b"Subject: Cron <root>\r\n\r\n") == Placement(folder="Cron", flags=Flags.SEEN)
    assert placed(b"X-Loop: bob@example.test\r\n\r\n").drop
    assert placed(b"Subject: big\r\n\r\n" + bytes(11 * 2**20)).copies == ("Large",)
    assert placed(b"Subject: small\r\n\r\n") == Placement()


@check
def vacation() -> None:
    sent = Sent()
    hook = load("vacation", {"away": {"bob@example.test": "back on Monday"}}, send=sent).mailbox_deliver

    def arrives(octets: bytes, sender: Address | None) -> None:
        message = FakeMessage(octets, sender=sender)
        ask(hook, "pipeline", name="placement", user=str(BOB), recipient=BOB, message=message, placement=Placement())

    arrives(b"Subject: hi\r\n\r\n", ANN)
    arrives(b"Subject: hi again\r\n\r\n", ANN)
    arrives(b"List-Id: <x>\r\n\r\n", Address.parse("list@elsewhere.test"))
    arrives(b"Subject: bounce\r\n\r\n", None)
    [(_, sender, recipients, octets)] = sent.messages
    assert (sender, recipients) == (None, (str(ANN),))
    assert b"back on Monday" in octets


@check
def journal() -> None:
    hook = load("journal", {"domain": "example.test", "archive": "archive@vault.test"}).message_modify
    message = FakeMessage(sender=ANN)
    added = [e for _, e in ask(hook, "all", message=message, recipients=[Recipient(BOB, BOB)])]
    assert added == [AddRecipient(Address.parse("archive@vault.test"))]
    assert ask(hook, "all", message=message, recipients=[Recipient(ANN, ANN)]) == []


@check
def disclaimer() -> None:
    hook = load("disclaimer", {"domain": "example.test", "text": "Confidential."}).message_modify
    message = FakeMessage(b"Subject: x\r\n\r\nhello\r\n", origin="submission")
    [(_, edit)] = ask(hook, "all", message=message, recipients=[Recipient(ANN, ANN)])
    assert edit == SetBody(b"hello\r\n\r\n-- \r\nConfidential.\r\n")
    assert ask(hook, "all", message=message, recipients=[Recipient(BOB, BOB)]) == []


@check
def partner() -> None:
    hook = load("partner", {"partners": ["elsewhere.test"], "gateway": "gw.elsewhere.test"}).route
    assert ask(hook, "first", sender=BOB, recipient=ANN) == Route("smtp", host="gw.elsewhere.test", port=25, tls="encrypt")
    assert ask(hook, "first", sender=ANN, recipient=BOB) is None


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_does_what_it_says(name: str) -> None:
    CHECKS[name]()


def test_no_recipe_was_lost() -> None:
    assert set(CHECKS) == set(RECIPES)
