"""``mta plugins``: commands without pip or network."""
# SPDX-License-Identifier: Apache-2.0

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field

from mta.cli.main import cli
from mta.cli.plugins import plugins
from mta.config.load import loads
from mta.config.safe import SAFE_MODE
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.sample import sample
from mta.pluginhost.scaffold import Scaffold


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / "mta.yaml"
    file.write_text("hostname: mx.example.test\ndata_dir: data\nplugins:\n  sql: {}\n# end\n")
    return file


def mta(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(config), "plugins", *words])


@pytest.mark.parametrize(("name", "command"), list(plugins.commands.items()))
def test_every_command_shows_an_example(name: str, command: click.Command) -> None:
    assert f"Example: mta plugins {name}" in (command.help or "")


def test_installed_and_not_listed_is_off(config) -> None:
    rows = {row["name"]: row for row in json.loads(mta(config, "list", "--json").stdout)}
    assert rows["sql"]["state"] == "ok"
    assert rows["dkim"]["state"] == "off"
    assert rows["dkim"]["hooks"] == []


def test_info_tells_what_it_hooks_and_where_it_is_listed(config) -> None:
    info = json.loads(mta(config, "info", "dkim", "--json").stdout)
    assert info["distribution"] == "mta-server"
    assert {"message_authenticate", "message_sign"} <= set(info["hooks"])
    assert info["listed"] is False
    assert mta(config, "info", "sql").stdout.count(f"{config}:4") == 1


@pytest.mark.parametrize("command", ["info", "config", "check", "enable"])
def test_an_unknown_name_is_refused_with_the_nearest(config, command) -> None:
    done = mta(config, command, "dnsb")
    assert done.exit_code != 0
    assert "did you mean dnsbl?" in done.output


def test_enable_writes_one_line_and_disable_takes_it_back(config) -> None:
    before = config.read_text()
    assert mta(config, "enable", "dnsbl", "--yes").exit_code == 0
    assert config.read_text() == before.replace("# end", "  dnsbl: {}\n# end")
    assert "listed already" in mta(config, "enable", "dnsbl", "--yes").output
    assert mta(config, "disable", "dnsbl").exit_code == 0
    assert config.read_text() == before.replace("# end", "  #~ dnsbl: {}\n# end")
    assert "not listed" in mta(config, "disable", "dnsbl").output


def test_enable_asks_and_takes_silence_for_no(config) -> None:
    before = config.read_text()
    done = mta(config, "enable", "dnsbl")
    assert done.exit_code != 0
    assert "--yes" in done.output
    assert config.read_text() == before


@pytest.mark.parametrize("setting", ["lists=[", "lists", "=3"])
def test_a_wrong_setting_is_refused(config, setting) -> None:
    assert mta(config, "enable", "dnsbl", "--yes", "--set", setting).exit_code != 0


def test_enable_writes_nothing_that_does_not_load(config) -> None:
    before = config.read_text()
    done = mta(config, "enable", "dnsbl", "--yes", "--set", "no_such_key=3")
    assert done.exit_code != 0
    assert config.read_text() == before


def test_doctor_says_that_nothing_is_installed(config) -> None:
    found = json.loads(mta(config, "doctor", "--json").stdout)
    assert next(f["finding"] for f in found if f["what"] == "environment").endswith("nothing is installed")


def test_safe_mode_takes_out_what_is_not_ours(monkeypatch) -> None:
    text = "plugins: {sql: {}, stranger: {a: 1}, dkim: {}}\nhooks_dir: /etc/hooks\n"
    assert loads(text, "f").left_out == ()
    monkeypatch.setenv(SAFE_MODE, "1")
    found = loads(text, "f")
    assert list(found.config.plugins) == ["sql", "dkim"]
    assert found.config.hooks_dir is None
    assert found.left_out == ("stranger", "hooks_dir")


# ---- new


def test_new_writes_a_package(config, tmp_path) -> None:
    target = tmp_path / "made"
    done = mta(config, "new", "grey-list", "--dir", str(target))
    assert done.exit_code == 0
    project = tomllib.loads((target / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["mta.plugins"] == {"grey-list": "mta_grey_list"}
    for path in target.rglob("*"):
        if path.is_file():
            assert "@name@" not in path.read_text()
            assert "@package@" not in path.read_text()
            if path.suffix == ".py":
                compile(path.read_text(), str(path), "exec")
            if path.suffix == ".yml":
                yaml.safe_load(path.read_text())
    assert mta(config, "new", "grey-list", "--dir", str(target)).exit_code != 0


@pytest.mark.parametrize("name", ["", "Grey", "1x", "a b", "../x", "a--b", "x" * 41, "sql", "directory", "a-"])
def test_a_name_that_cannot_be_one_is_refused(name) -> None:
    with pytest.raises(PluginRefused):
        Scaffold(name)


# ---- config


class Inner(BaseModel):
    size: int = 3


class Model(BaseModel):
    url: Annotated[str, Field(min_length=1, description="Where to.")]
    delay: Annotated[float, Field(ge=0, le=60, description="Seconds.")] = 5.0
    names: frozenset[str] = frozenset({"b", "a"})
    inner: Inner = Inner()


def test_a_sample_is_yaml_with_defaults_bounds_and_descriptions() -> None:
    text = sample("it", Model)
    assert yaml.safe_load(text) == {"plugins": {"it": {"url": None}}}
    assert "    # Where to. (text, at least 1 characters)\n    url:   # must be given\n" in text
    assert "    # Seconds. (number, at least 0, at most 60)\n    #delay: 5\n" in text
    assert '    #names: ["a", "b"]\n' in text


def test_uncommented_a_sample_is_the_defaults() -> None:
    lines = sample("it", Model).split("    # Known to every plugin:")[0].splitlines()
    bare = "\n".join(re.sub(r"^    #((?:  )*[a-z])", r"    \1", line) for line in lines)
    section = yaml.safe_load(bare)["plugins"]["it"]
    assert Model.model_validate({**section, "url": "u"}) == Model(url="u")


def test_a_sample_without_required_keys_means_the_empty_section() -> None:
    assert yaml.safe_load(sample("it", Inner)) == {"plugins": {"it": {}}}
    assert yaml.safe_load(sample("it", None)) == {"plugins": {"it": {}}}
