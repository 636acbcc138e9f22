"""Lines of the log: what they show, and what no value can make of them."""
# SPDX-License-Identifier: Apache-2.0

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from mta.obs import log as obs
from mta.obs.log import Log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger("mta")
    before = (list(root.handlers), root.level, root.propagate)
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def _written(path: Path, form: Literal["text", "json"] = "text") -> Log:
    obs.configure("info", form, str(path))
    return Log({"worker": 1})


def test_a_line_is_time_level_event_and_fields(tmp_path: Path) -> None:
    log = _written(tmp_path / "log")
    log.debug("quiet")
    log.info("delivery.relayed", reply="250 ok", attempts=1, empty="", none=None)
    line = (tmp_path / "log").read_text()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info delivery\.relayed worker=1 reply="250 ok" attempts=1 empty="" none=None\n',
        line,
    )


@pytest.mark.parametrize("value", ["a\nforged", 'say "x"', "a=b", "back\\slash", "\x1b[2J", "\u2028"])
def test_no_value_forges_a_line_or_a_field(tmp_path: Path, value: str) -> None:
    _written(tmp_path / "log").warning("event", field=value)
    [line] = (tmp_path / "log").read_text().split("\n")[:-1]
    assert json.loads(line.partition(" field=")[2]) == value


def test_secrets_are_struck_out_and_long_values_cut(tmp_path: Path) -> None:
    _written(tmp_path / "log").error("event", password="geheim", text="x" * 5000)
    line = (tmp_path / "log").read_text()
    assert "geheim" not in line
    assert "password=***" in line
    assert line.endswith("=" + "x" * 1000 + "\n")


def test_the_exception_at_hand_follows_its_line(tmp_path: Path) -> None:
    log = _written(tmp_path / "log")
    try:
        raise ValueError("why")
    except ValueError:
        log.error("mistake", exc_info=True)  # noqa: G201  # ours has no such method
    first, *rest = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("error mistake worker=1")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: why"


def test_json_keeps_numbers(tmp_path: Path) -> None:
    _written(tmp_path / "log", "json").info("event", size=5, text="a b")
    found = json.loads((tmp_path / "log").read_text())
    assert (found["event"], found["level"], found["size"], found["text"]) == ("event", "info", 5, "a b")
