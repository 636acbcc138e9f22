"""Rights of RFC 4314: letters, lists, who gets what."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.rights import ALL, changed, effective, identifier, in_order, read_rights, shown

LETTERS = st.text(alphabet=ALL, max_size=12)


def test_old_letters_are_what_they_are_tied_to():
    assert read_rights("cd") == in_order(set("kxte"))
    assert shown("lrt") == "lrtd"
    assert shown("lrk") == "lrkc"
    assert shown(ALL) == ALL + "cd"
    with pytest.raises(ValueError, match="no such right: 0z"):
        read_rights("lz0")


@given(LETTERS, LETTERS)
def test_changes_add_take_and_replace(before, letters):
    before = read_rights(before)
    assert set(changed(before, "+" + letters)) == set(before) | set(letters)
    assert set(changed(before, "-" + letters)) == set(before) - set(letters)
    assert changed(before, letters) == read_rights(letters)


def test_what_is_taken_is_taken_whatever_gives_it():
    entries = {"anyone": "lr", "bob@x.test": "ws", "authenticated": "i", "-bob@x.test": "r", "-anyone": "s"}
    assert effective(entries, "Bob@x.test") == "lwi"
    assert effective(entries, "eve@x.test") == "lri"
    assert effective(entries, "") == "lr"  # who did not log in is anyone, not authenticated
    assert effective({}, "bob@x.test") == ""


def test_an_identifier_has_one_spelling():
    assert identifier("Bob@X.Test") == "bob@x.test"
    assert identifier("-ANYONE") == "-anyone"
    for bad in ("", "-", "bob", "a b@x", "--bob@x", "a@b@c", "administrators", "x" * 400 + "@y"):
        with pytest.raises(ValueError, match="an identifier is"):
            identifier(bad)
