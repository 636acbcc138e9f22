# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found once stays found: each target takes its whole corpus, and some changes to it."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHANGES = 100


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = load(ROOT / "tools" / "fuzz.py")
TARGETS = sorted((ROOT / "tests" / "fuzz" / "targets").glob("*.py"))


def test_there_are_targets() -> None:
    assert {"address", "mime", "smtp_command", "smtp_data", "smtp_session"} <= {path.stem for path in TARGETS}


@pytest.mark.parametrize("path", TARGETS, ids=lambda path: path.stem)
def test_target(path: Path) -> None:
    target = load(path)
    saved = [one.read_bytes() for one in sorted((ROOT / "tests" / "fuzz" / "corpus" / path.stem).glob("*"))]
    inputs = [*target.SEEDS, *saved]
    for octets in inputs:
        target.run(octets)
    chance = random.Random(1)
    for _ in range(CHANGES):
        target.run(FUZZ.change(chance, chance.choice(inputs), inputs, target.WORDS))


def test_a_bug_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The fuzzer itself: two conditions, one behind the other, which blind chance would not meet in a second."""
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "trap.py").write_text(
        "SEEDS, WORDS, FILES = (b'aaaa',), (b'one', b'two', b'three'), ('trap',)\n"
        "def run(octets):\n"
        "    if octets.startswith(b'one'):\n"
        "        if octets.endswith(b'two'):\n"
        "            raise RuntimeError('trapped')\n"
    )
    monkeypatch.setattr(FUZZ, "FOLDER", tmp_path)
    monkeypatch.setattr(FUZZ, "ROOT", tmp_path)
    fuzzer = FUZZ.Fuzzer("trap", FUZZ.load("trap"), 1)
    assert not fuzzer.work(30)
    [found] = (tmp_path / "found").iterdir()
    assert found.read_bytes().startswith(b"one")
    assert "trapped" in capsys.readouterr().err
