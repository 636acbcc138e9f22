"""The right side of an alias (virtual(5), aliases(5)): a list of addresses, programs, and files that hold such lists."""
# SPDX-License-Identifier: Apache-2.0

import os
import re
import stat

INCLUDE = ":include:"
MAX_SIZE = 2**20
"""Octets of an included list."""

_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')


class BadTarget(ValueError):
    """A target that is not done here; says why."""


def split_targets(value: str) -> list[str]:
    """The items between commas that stand in no quotes; quotes around a whole item that is no address are gone."""
    out = []
    for match in _ITEM.finditer(value):
        item = match[0].strip()
        whole = _QUOTED.match(item)
        if whole is not None:
            item = re.sub(r"\\(.)", r"\1", whole[1]).strip()
        if item:
            out.append(item)
    return out


def read_included(path: str) -> list[str]:
    """The items of a list: one or more a line, "#" begins a comment. Raises OSError, BadTarget."""
    if not path.startswith("/"):
        raise BadTarget(f"{INCLUDE}{path[:80]}: the path must be absolute")
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH:
            raise BadTarget(f"{path}: must be a regular file that not the whole world can write")
        if status.st_size > MAX_SIZE:
            raise BadTarget(f"{path}: larger than {MAX_SIZE} octets")
        text = stream.read(MAX_SIZE + 1).decode("utf-8", "replace")
    lines = (line.strip() for line in text.splitlines())
    return [item for line in lines if line and not line.startswith("#") for item in split_targets(line)]


def checked(item: str) -> str:
    """An address, a name, or ``|name`` of a program in hooks_dir. Raises BadTarget."""
    if item.startswith("/"):
        raise BadTarget(f"{item[:80]}: mail is not written to files: give the name a mailbox")
    if item.startswith("|") and not re.match(r"\|[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z", item):
        raise BadTarget(f"{item[:80]}: a program is named as |name and lies in hooks_dir: no command line")
    if item.startswith(":"):
        raise BadTarget(f"{item[:80]}: is read in files only")
    return item
