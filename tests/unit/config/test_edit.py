"""Edits of the plugins section: one entry comes or goes, every other octet stays."""
# SPDX-License-Identifier: Apache-2.0

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.config import edit
from mta.config.load import loads
from mta.model.errors import ConfigError

BLOCK = """\
# mine
hostname: mx.example.org   # the name
plugins:
  # storage first
  sql: {}   # here
  dkim:
    # selector of the year
    selector: s1
    text: |
      two
      lines

  # between
  dnsbl: {}  # last

# about limits
limits:
  recipients: 200
"""


def plugins(text: str) -> dict[str, object]:
    return loads(text, "mta.yaml").config.plugins


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BLOCK, BLOCK.replace("  # last\n", "  # last\n  new: {}\n")),
        ("plugins:\n  sql:\n", "plugins:\n  sql:\n  new: {}\n"),
        ("plugins:\n  sql: {}", "plugins:\n  sql: {}\n  new: {}\n"),
        ("plugins:\r\n  sql: {}\r\ndomains: []\r\n", "plugins:\r\n  sql: {}\r\n  new: {}\r\ndomains: []\r\n"),
        ("plugins:\n- sql # x\n- dkim\nworkers: 1\n", "plugins:\n- sql # x\n- dkim\n- new\nworkers: 1\n"),
        ("plugins: [sql, dkim]  # x\n", "plugins: [sql, dkim, new]  # x\n"),
        ("plugins: {sql: {}, dkim: {selector: a}}\n", "plugins: {sql: {}, dkim: {selector: a}, new: {}}\n"),
        ('{"workers": 1,\n "plugins": {\n  "sql": {}\n }\n}\n', '{"workers": 1,\n "plugins": {\n  "sql": {}, "new": {}\n }\n}\n'),
        ('{"workers": 1}', '{"workers": 1, "plugins": {"sql": {}, "new": {}}}'),
        ("", "\nplugins:\n  sql: {}\n  new: {}\n"),
        ("workers: 1", "workers: 1\n\nplugins:\n  sql: {}\n  new: {}\n"),
        ("# nothing yet\n", "# nothing yet\n\nplugins:\n  sql: {}\n  new: {}\n"),
        ("# ünïcödé \U0001f4ee\nplugins:\n  sql: {}\n", "# ünïcödé \U0001f4ee\nplugins:\n  sql: {}\n  new: {}\n"),
    ],
)
def test_enable_adds_one_entry(before: str, after: str) -> None:
    assert edit.enable(before, "mta.yaml", "new") == after
    assert list(plugins(after)) == [*plugins(before), "new"]


def test_settings_are_written_as_they_are_read() -> None:
    settings = {"url": "https://example.org/?a=b#c", "word": "plain", "yes": "no", "list": ["a: b", 1], "number": 1.5, "off": True}
    text = edit.enable(BLOCK, "mta.yaml", "new", settings | {})
    assert plugins(text)["new"] == settings
    assert plugins(edit.enable('{"plugins": {"sql": {}}}', "mta.yaml", "new", settings))["new"] == settings


@pytest.mark.parametrize(
    "text",
    [
        "base: &p {sql: {}}\nplugins: *p\n",
        "plugins:\n",
        "plugins: null\n",
        "plugins: &p {sql: {}}\nroutes: *p\n",
        "? plugins\n: sql: {}\n",
        "plugins:\n  ? sql\n  : {}\n",
        "plugins: {sql: {}\n",
        "[]\n",
    ],
)
def test_an_unusual_form_is_refused_with_the_lines_to_add(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        edit.enable(text, "mta.yaml", "new", {"delay": 5})
    assert refused.value.fix == "add to plugins:\n  new:\n    delay: 5"


@pytest.mark.parametrize("name", ["dkim", "dnsbl", "sql"])
def test_disable_comments_out_and_enable_brings_back(name: str) -> None:
    off = edit.disable(BLOCK, "mta.yaml", name)
    assert name not in plugins(off)
    assert len(off.splitlines()) == len(BLOCK.splitlines())
    assert edit.enable(off, "mta.yaml", name) == BLOCK


def test_disabled_lines_do_not_mix() -> None:
    off = edit.disable(edit.disable(BLOCK, "mta.yaml", "dnsbl"), "mta.yaml", "dkim")
    assert list(plugins(off)) == ["sql"]
    assert edit.enable(edit.enable(off, "mta.yaml", "dkim"), "mta.yaml", "dnsbl") == BLOCK
    with pytest.raises(ConfigError):
        edit.enable(off, "mta.yaml", "dkim", {"selector": "other"})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("plugins: [sql, dkim, dnsbl]\n", "plugins: [sql, dnsbl]\n"),
        ("plugins: {dkim: {a: 1}, sql: {}}\n", "plugins: {sql: {}}\n"),
        ('{"plugins": {\n  "sql": {},\n  "dkim": {"a": 1}\n }}\n', '{"plugins": {\n  "sql": {}\n }}\n'),
        ("plugins:\n- sql\n- dkim\n", "plugins:\n- sql\n#~ - dkim\n"),
    ],
)
def test_disable_in_other_forms(before: str, after: str) -> None:
    assert edit.disable(before, "mta.yaml", "dkim") == after


def test_a_list_brings_an_entry_back() -> None:
    text = "plugins:\n  - sql\n  - dkim # x\n  - spf\n"
    assert edit.enable(edit.disable(text, "f", "dkim"), "f", "dkim") == text


def test_the_last_entry_stays() -> None:
    with pytest.raises(ConfigError):
        edit.disable("plugins:\n  dkim: {}\n", "mta.yaml", "dkim")


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, unique=True),
    st.lists(
        st.sampled_from(["", "# note", "  # deep note", "    # deeper", "    key: 1 # one", "    other: |\n      x\n\n    # y"]),
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_off_and_on_again_is_the_same_file(names: list[str], between: list[str], newline: str) -> None:
    """Whatever is edited at all comes back octet by octet."""
    text = "plugins:\n  sql: {}\n"
    for number, name in enumerate(names):
        text += f"  {name}:\n"
        text += "".join(f"{line}\n" for line in between[number % 3 :: 3])
    text = text.replace("\n", newline)
    try:
        before = plugins(text)
    except ConfigError:
        return
    off = edit.disable(text, "mta.yaml", names[0])
    assert names[0] not in plugins(off)
    on = edit.enable(off, "mta.yaml", names[0])
    assert on == text
    assert plugins(on) == before


def test_write_keeps_mode_and_a_copy_and_follows_links(tmp_path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "mta.yaml"
    real.write_bytes(b"old\r\n")
    real.chmod(0o640)
    link.symlink_to(real)
    copy = edit.write(str(link), "new\r\n")
    assert link.is_symlink()
    assert (real.read_bytes(), copy.read_bytes()) == (b"new\r\n", b"old\r\n")
    assert [os.stat(p).st_mode & 0o777 for p in (real, copy)] == [0o640, 0o640]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mta.yaml", "real.yaml", "real.yaml.bak"]
