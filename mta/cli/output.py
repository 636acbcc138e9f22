"""Listings for people and for programs, and progress of long work."""
# SPDX-License-Identifier: Apache-2.0

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows as a table with a head, or all their keys as a JSON list."""
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], ensure_ascii=False, indent=1, default=str))
        return
    if not rows:
        return
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    for line in [[name.upper() for name in columns], *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_one(values: Mapping[str, Any], as_json: bool) -> None:
    """Print one thing: ``key: value`` lines, or a JSON object."""
    if as_json:
        click.echo(json.dumps(dict(values), ensure_ascii=False, indent=1, default=str))
        return
    for key, value in values.items():
        click.echo(f"{key}: {_cell(value)}")


def stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def progress(total: int, what: str) -> Callable[[int], None]:
    """A bar on a terminal, else a line every two seconds; ``call(done)``."""
    terminal = sys.stderr.isatty()
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if terminal:
            filled = 30 * done // max(total, 1)
            end = "\n" if done >= total else ""
            print(f"\r{what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}", end=end, file=sys.stderr, flush=True)
        elif now - last >= 2.0:
            last = now
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return tell
