"""Listings for people and for programs, and progress of long work."""
# SPDX-License-Identifier: Apache-2.0

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")


class Listing:
    """Rows that come in pieces, printed as they come: a table with a head, or all their keys as one JSON list.

    Columns are as wide as those so far need, so that a listing of any length costs the memory of one piece.
    """

    def __init__(self, columns: Sequence[str], as_json: bool) -> None:
        self._columns = columns
        self._as_json = as_json
        self._widths: list[int] = []
        self._begun = False

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        if self._as_json:
            text = json.dumps([dict(row) for row in rows], ensure_ascii=False, indent=1, default=str)
            click.echo(text.removesuffix("\n]") if not self._begun else "," + text[1:].removesuffix("\n]"), nl=False)
        else:
            self._add_lines([[_cell(row.get(name)) for name in self._columns] for row in rows])
        self._begun = True

    def _add_lines(self, cells: list[list[str]]) -> None:
        widths = self._widths or [len(name) for name in self._columns]
        self._widths = [max(width, *(len(line[i]) for line in cells)) for i, width in enumerate(widths)]
        head = [] if self._begun else [[name.upper() for name in self._columns]]
        for line in [*head, *cells]:
            click.echo("  ".join(text.ljust(width) for text, width in zip(line, self._widths, strict=True)).rstrip())

    def end(self) -> None:
        if self._as_json:
            click.echo("\n]" if self._begun else "[]")


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows as a table with a head, or all their keys as a JSON list."""
    listing = Listing(columns, as_json)
    listing.add(rows)
    listing.end()


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
