"""The documents say what is there: commands, config keys, hooks, log events, layout. A promise without text, or text without substance, fails."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [p for shelf in ("mta", "hooks/mta_hooks", "plugins") for p in sorted((ROOT / shelf).rglob("*.py"))]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_readme_names_both_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text


def test_architecture_is_short_and_its_files_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    assert len(text.splitlines()) <= 250
    named = set(re.findall(r"`((?:mta|plugins|hooks)/[\w/.]+)`", text))
    assert named
    assert [n for n in sorted(named) if not (ROOT / n).exists()] == []


PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("folder", ["hooks", "operators", "plugin-authors"])
def test_every_page_can_be_found_from_its_folder_s_index(folder: str) -> None:
    index = (ROOT / "docs" / folder / "README.md").read_text(encoding="utf-8")
    pages = {p.name for p in (ROOT / "docs" / folder).glob("*.md")} - {"README.md"}
    assert sorted(name for name in pages if f"]({name})" not in index) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_small_and_say_what_they_are(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 600
    assert path.stem not in {"utils", "helpers", "common", "misc", "base"}
    module = tree(path)
    if source.strip():
        assert ast.get_docstring(module), "module docstring missing"
        assert "SPDX-License-Identifier: Apache-2.0" in source
    too_long = [
        f"{n.name}: {(n.end_lineno or 0) - n.lineno + 1} lines"
        for n in ast.walk(module)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and (n.end_lineno or 0) - n.lineno >= 60
    ]
    assert too_long == []


def test_every_log_event_is_documented() -> None:
    events = set()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"debug", "info", "warning", "error"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
                and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", node.args[0].value)
            ):
                events.add(node.args[0].value)
    documented = set(re.findall(r"`([a-z0-9_]+(?:\.[a-z0-9_]+)+)`", (ROOT / "docs/operators/log.md").read_text()))
    assert sorted(events - documented) == []


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        broken += [f"{page.relative_to(ROOT)}: {target}" for target in targets if not (page.parent / target).exists()]
    assert broken == []


def test_standards_page_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("rfc_index", ROOT / "tools" / "rfc_index.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs/standards.md").read_text() == tool.render(), "run make docs"


def test_every_plugin_of_ours_has_a_page_for_operators() -> None:
    names = re.findall(r'^(\w+) = "mta_\w+', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert "sql" in names
    index = (ROOT / "docs/operators/README.md").read_text()
    missing = [n for n in names if n != "sql" and not (f"]({n}.md)" in index and (ROOT / f"docs/operators/{n}.md").exists())]
    assert missing == []
