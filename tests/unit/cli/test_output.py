"""Listings: whole or in pieces they are the same JSON, and a table that people can read."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.cli.output import Listing, show

ROWS = [{"id": n, "name": "n" * n, "more": [n]} for n in range(5)]


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("piece", [1, 2, 5])
def test_a_list_in_pieces_is_the_whole_list(capsys: pytest.CaptureFixture[str], count: int, piece: int) -> None:
    listing = Listing(("id", "name"), True)
    for start in range(0, count, piece):
        listing.add(ROWS[start : start + piece][: count - start])
    listing.end()
    assert capsys.readouterr().out == json.dumps(ROWS[:count], indent=1) + "\n"


def test_columns_grow(capsys: pytest.CaptureFixture[str]) -> None:
    listing = Listing(("name", "id"), False)
    listing.add([{"id": 1, "name": "a"}])
    listing.add([{"id": 2, "name": "long-name"}])
    listing.add([{"id": 3, "name": ""}])
    listing.end()
    assert capsys.readouterr().out == "NAME  ID\na     1\nlong-name  2\n-          3\n"


def test_nothing_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    show([], ("id",), False)
    assert capsys.readouterr().out == ""
