"""A plugin's section: common keys, own keys, errors with file, line and remedy."""

import pytest
from pydantic import BaseModel

from mta.model.errors import ConfigError
from mta.pluginhost.section import split, validate


class Model(BaseModel):
    selector: str = "s1"
    bits: int = 2048


def where(key: str) -> str:
    return f"mta.yaml:{len(key)}"


def test_common_keys_are_taken_out() -> None:
    section = split({"on_error": "continue", "timeout": "2m", "required": True, "selector": "x"}, "plugins.dkim", where)
    assert (section.on_error, section.timeout, section.required, section.own) == ("continue", 120.0, True, {"selector": "x"})
    assert split(None, "plugins.x", where).own == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [("on_error", "explode"), ("timeout", "soon"), ("timeout", 0), ("timeout", True), ("required", "yes"), ("timeout", [])],
)
def test_common_keys_are_checked(key, value) -> None:
    with pytest.raises(ConfigError) as caught:
        split({key: value}, "plugins.dkim", where)
    assert caught.value.key == f"plugins.dkim.{key}"
    assert caught.value.where.startswith("mta.yaml:")
    assert caught.value.fix


def test_the_model_is_made() -> None:
    assert validate(Model, {"bits": 1024}, "plugins.dkim", where) == Model(bits=1024)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"plugins.dkim.selektor: unknown key; did you mean selector\?"):
        validate(Model, {"selektor": "x"}, "plugins.dkim", where)


def test_a_wrong_value_names_key_and_problem() -> None:
    with pytest.raises(ConfigError, match=r"mta.yaml:17: plugins.dkim.bits: .*valid integer"):
        validate(Model, {"bits": "many"}, "plugins.dkim", where)


def test_without_a_model_the_mapping_is_read_only() -> None:
    config = validate(None, {"a": 1}, "plugins.x", where)
    assert config["a"] == 1
    with pytest.raises(TypeError):
        config["b"] = 2
