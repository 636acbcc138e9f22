"""What is generated from the config's sections and the commands is current: make docs."""
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys
from pathlib import Path

import pytest

from mta.config.describe import keys, section_at
from mta.config.load import load
from mta.config.sections import Limits, Listener

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("tool", ["config_docs.py", "command_docs.py"])
def test_generated_pages_are_current(tool: str) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / tool), "--check"], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_example_is_a_config_of_defaults() -> None:
    config = load(str(ROOT / "etc/mta.yaml")).config
    assert config.limits == Limits()
    assert config.plugins == {"sql": {}}


def test_every_key_has_a_description() -> None:
    found = {key.name: key for key in keys()}
    assert [name for name, key in found.items() if not key.description] == []
    assert found["limits.message_size"].form == "size"
    assert found["queue.retry"].form == "list of times"
    assert found["dns.timeout"].bounds == "above 0, at most 60"


def test_sections_by_path() -> None:
    assert section_at(("limits",)) is Limits
    assert section_at(("listen", 0)) is Listener
    assert section_at(("plugins", "sql")) is None
