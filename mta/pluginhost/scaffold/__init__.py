"""``mta plugins new``: a package to begin with, out of ``templates/``.

Templates are package data named ``*.in``, so that no tool takes them for code; ``@name@``, ``@package@`` and the like are replaced
in texts and in paths (``__package__``).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from mta import __version__
from mta.config.safe import GROUP
from mta.pluginhost.check import PluginRefused, check_name
from mta_hooks import API

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*\Z")
_LONGEST = 40
_PATHS = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "gitignore.in": ".gitignore",
    "ci.yml.in": ".github/workflows/test.yml",
    "plugin.py.in": "__package__/__init__.py",
    "config.py.in": "__package__/config.py",
    "test_plugin.py.in": "tests/test___package__.py",
}


class Scaffold:
    """The package of one new plugin. Raises PluginRefused for a name that cannot be one."""

    def __init__(self, name: str) -> None:
        if not _NAME.match(name) or len(name) > _LONGEST:
            raise PluginRefused(
                f"{name!r} is no plugin name: lower-case letters, digits, - and _, a letter first, at most {_LONGEST}"
            )
        check_name(name)
        if owner := next((e.dist.name if e.dist else "?" for e in entry_points(group=GROUP) if e.name == name), ""):
            raise PluginRefused(f"{owner} provides a plugin {name} already")
        self.name = name
        self.package = f"mta_{name.replace('-', '_')}"
        self.distribution = f"mta-{name.replace('_', '-')}"
        major, minor = (int(n) for n in API.split("."))
        server = __version__.split(".")
        self._words = {
            "name": name,
            "package": self.package,
            "distribution": self.distribution,
            "class": "".join(part.capitalize() for part in re.split("[_-]", name)),
            "event": name.replace("-", "_"),
            "api": f">={major}.{minor},<{major + 1}",
            "server": f">={server[0]}.{server[1]}",
        }

    def write(self, folder: Path) -> Iterator[Path]:
        """Write every file. Yields their paths."""
        templates = files(__package__) / "templates"
        for template, place in _PATHS.items():
            path = folder / place.replace("__package__", self.package)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill((templates / template).read_text(encoding="utf-8")), encoding="utf-8")
            yield path

    def fill(self, text: str) -> str:
        return re.sub(r"@([a-z]+)@", lambda m: self._words.get(m[1], m[0]), text)
