"""What handlers answer, read."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta_aiosmtpd.status import as_answer, as_verdict, parse
from mta_hooks import Action, Deferred, Delivered, Failed, TemporaryFailure


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("250 OK", (250, "", "OK")),
        ("250", (250, "", "")),
        (b"550 5.7.1 no", (550, "5.7.1", "no")),
        ("451 4.3.0", (451, "4.3.0", "")),
        ("550 two\r\n550 lines", (550, "", "two 550 lines")),
        ("550 caf\xe9", (550, "", "caf?")),
    ],
)
def test_a_status_is_read(status: object, read: tuple[int, str, str]) -> None:
    assert parse(status) == read


@pytest.mark.parametrize("status", [None, "", "OK", "25 OK", "750 what", 250, "250OK"])
def test_what_is_no_status_is_a_failure(status: object) -> None:
    with pytest.raises(TemporaryFailure, match="no SMTP status"):
        parse(status)


def test_verdicts() -> None:
    assert as_verdict("250 OK") is None
    no = as_verdict("552 5.2.2 full")
    assert no is not None
    assert (no.action, no.code, no.enhanced, no.text, no.hang_up) == (Action.REJECT, 552, "5.2.2", "full", False)
    away = as_verdict("421 bye")
    assert away is not None
    assert (away.action, away.code, away.enhanced, away.hang_up) == (Action.DEFER, 421, "4.7.1", True)
    odd = as_verdict("550 4.0.0 a class that does not fit")
    assert odd is not None
    assert odd.enhanced == "5.7.1"


def test_answers() -> None:
    assert as_answer("250 stored as 7") == Delivered("stored as 7")
    assert as_answer("451 later") == Deferred("later")
    assert as_answer("550 5.1.1 nobody") == Failed("nobody", "5.1.1")
