"""What our regular expressions may not use: ``re`` of Python 3.11.0 to 3.11.4 goes on at the wrong place after ``(…)*+``."""
# SPDX-License-Identifier: Apache-2.0

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\d+,?\d*\})\+")


@pytest.mark.parametrize("folder", ["mta", "hooks", "plugins"])
def test_no_group_is_possessive(folder):
    """One character or class may be (``[a-z]++``); for a group write ``(?>(?:…)*)``, which is right everywhere."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _POSSESSIVE_GROUP.search(line)
    ]
    assert found == []
