"""Write docs/operators/commands.md from the help of every command.

python tools/command_docs.py [--check]
"""
# SPDX-License-Identifier: Apache-2.0

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mta.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/operators/commands.md"
HEAD = """\
# Commands

`mta [--config FILE] COMMAND`; without `--config` the file is `$MTA_CONFIG`, else `/etc/mta/mta.yaml`. Commands open the database directly, so they work before the first start,
while the server runs (which is told at once) and when it is down. Every listing takes `--json`.

Exit statuses are those of sysexits.h: 0 done, 64 usage, 65 damaged data, 67 no such address or id, 69 no server or unavailable, 73 exists already, 75 try again later, 77 not
allowed, 78 the config is wrong (`file:line: key: problem. Fix: …`).

"""


def commands(command: click.Command, path: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, info_name=path if parent is None else path.rpartition(" ")[2], parent=parent, max_content_width=110
    )
    context.terminal_width = 110
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, f"{path} {name}", context)


def page() -> str:
    parts = [HEAD.rstrip()]
    for path, text in commands(cli, "mta", None):
        parts.append(f"{'##' if path.count(' ') < 2 else '###'} {path}\n\n```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    text = page()
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
    if "--check" in sys.argv[1:]:
        if stale:
            print(f"{PAGE.relative_to(ROOT)} is stale: run make docs")
        return int(stale)
    if stale:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
