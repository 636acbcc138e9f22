"""``mta lookup``: keys in a table of the config, mistakes by file and line, exit statuses."""

import json
from pathlib import Path

import pytest

from mta.cli.main import main


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "virtual").write_text("bob@example.org  ann@example.net\nwrong\n")
    file = tmp_path / "mta.yaml"
    file.write_text(
        f"data_dir: {tmp_path}/var\nhostname: mx.example.org\ntables:\n  people: ['hash:{tmp_path}/virtual', {{'@example.org': all}}]\n"
    )
    return str(file)


def run(config: str, *words: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["--config", config, "lookup", *words])
    return int(done.value.code or 0)


def test_keys(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, "people", "BOB@example.org") == 0
    assert run(config, "--as", "address", "people", "bob+x@example.org", "eve@example.org") == 0
    assert capsys.readouterr().out.splitlines() == [
        "BOB@example.org\tann@example.net",
        "bob+x@example.org\tann@example.net\t(bob@example.org)",
        "eve@example.org\tall\t(@example.org)",
    ]
    assert run(config, "people", "nobody") == 67
    assert run(config, "--json", "people", "bob@example.org") == 0
    assert json.loads(capsys.readouterr().out)["found"] == [
        {"key": "bob@example.org", "matched": "bob@example.org", "value": "ann@example.net"}
    ]


def test_mistakes(config: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(config, "people") == 65
    assert f"{tmp_path}/virtual:2: expected" in capsys.readouterr().err
    assert run(config, "hash:/nowhere/at/all") == 78
    assert run(config, "static:x") == 0
