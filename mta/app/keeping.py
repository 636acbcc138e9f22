"""What a backup holds beside the database: the config with every file it names, and the small files of the data folder.

``DIR/config/<absolute path>``, ``DIR/files/<path in data_dir>``; ``DIR/backup.json`` says what and when, and is written last.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mta.config.load import LoadedConfig
from mta.model.errors import MailError

MANIFEST = "backup.json"
DATABASE = "database"
FORMAT = 1
_MOST = 16 * 2**20
_LEFT_OUT = ("run", "tmp", "plugins", "blobs")
_OF_DATABASE = ("mta.db", "search.db")


def config_files(loaded: LoadedConfig) -> list[Path]:
    """The config, the hooks folder, and each file that a value names: keys, certificates, tables. Not what lies in data_dir."""
    file = Path(loaded.file).absolute()
    found = {file: None}
    data_dir = Path(loaded.config.data_dir).absolute()
    for text in _texts(loaded.tree.value):
        name = text.partition(":")[2] if text.startswith("file:") else text
        if not name or "\0" in name or len(name) > 4096 or name in (".", ".."):
            continue
        path = Path(os.path.normpath(file.parent / name))
        if path.is_file() and path.stat().st_size <= _MOST and not path.is_relative_to(data_dir):
            found[path] = None
    if loaded.config.hooks_dir:
        found |= dict.fromkeys(path for path in sorted(Path(loaded.config.hooks_dir).absolute().rglob("*")) if path.is_file())
    return list(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def data_files(data_dir: Path) -> list[Path]:
    """Files of the data folder that are neither the database's nor made anew, relative to it: keys, mail that waits in maildrop."""
    found = []
    for folder, folders, names in os.walk(data_dir):
        at = Path(folder).relative_to(data_dir)
        if folder == str(data_dir):
            folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith("before-restore-")]
            names = [name for name in names if not name.startswith(_OF_DATABASE)]
        found += [at / name for name in names if (Path(folder) / name).is_file() and not (Path(folder) / name).is_symlink()]
    return sorted(found)


def copy(source: Path, target: Path) -> None:
    """With its mode and time. The name is there when the octets are."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.new")
    shutil.copy2(source, unfinished)
    unfinished.replace(target)


def replace_tree(folder: Path, files: dict[Path, Path]) -> None:
    """Make ``folder`` hold exactly these: relative path → where it is now."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    for relative, source in files.items():
        copy(source, fresh / relative)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def write_manifest(folder: Path, values: dict[str, Any]) -> None:
    unfinished = folder / f"{MANIFEST}.new"
    unfinished.write_text(json.dumps(values | {"format": FORMAT}, indent=1) + "\n", "utf-8")
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises MailError for what is no complete backup, or one of a later program."""
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise MailError(f"{folder}: no complete backup: its {MANIFEST} cannot be read") from exc
    if found.get("format", 0) > FORMAT:
        raise MailError(f"{folder}: made by a newer mta ({found.get('version')}); restore it with that one")
    return found
