"""The judge of the fault tests must itself be able to find fault."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy

from mta.testing.clients import Ledger, compose


def ledger():
    return Ledger(acknowledged={"<a>": 1.0, "<b>": 2.0}, refused={"<r>": (452, "full")}, unknown={"<u>"})


def test_sound():
    assert ledger().audit(["<a>", "<b>"]) == []
    assert ledger().audit(["<a>", "<b>", "<u>"]) == []  # the answer was lost, the message need not be


def test_each_fault_is_one_line():
    assert ledger().audit(["<a>"]) == ["lost: <b>"]
    assert ledger().audit(["<a>", "<b>", "<b>"]) == ["2 times: <b>"]
    assert ledger().audit(["<a>", "<b>", "<u>", "<u>"]) == ["2 times: <u>"]
    assert ledger().audit(["<a>", "<b>", "<r>"]) == ["refused (452) yet there: <r>"]
    assert ledger().audit(["<a>", "<b>", "<x>"]) == ["nobody sent: <x>"]


def test_compose_makes_a_message_of_about_that_size():
    octets = compose("<m@x>", "alice@example.test", size=5000)
    assert 4800 < len(octets) < 5100
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert (message["Message-ID"], message["To"]) == ("<m@x>", "alice@example.test")
    assert octets.count(b"\n") == octets.count(b"\r\n")


def test_what_was_in_hand_when_the_disk_died_is_in_doubt():
    assert ledger().audit(["<a>", "<b>", "<r>"], in_doubt=1) == []
