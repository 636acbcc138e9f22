"""``dovecot-keywords``: which letter in a file name is which keyword, for one folder. 26 at most; the others live in our journal."""
# SPDX-License-Identifier: Apache-2.0

import os
from collections.abc import Iterable

from mta_maildir import disk
from mta_maildir.lock import dotlock

NAME = "dovecot-keywords"
MOST = 26


def parse(octets: bytes | None) -> list[str]:
    """By number; "" for a number that is free."""
    table: list[str] = []
    for line in (octets or b"").decode("utf-8", "replace").splitlines():
        number, _, keyword = line.partition(" ")
        if number.isdecimal() and int(number) < MOST and keyword:
            table += [""] * (int(number) + 1 - len(table))
            table[int(number)] = keyword
    return table


def read(folder: str) -> list[str]:
    return parse(disk.read(os.path.join(folder, NAME)))


def add(folder: str, wanted: Iterable[str], mode: int) -> list[str]:
    """Give letters to keywords that have none, as long as there are any; returns the table."""
    path = os.path.join(folder, NAME)
    with dotlock(path, mode):
        table = read(folder)
        for keyword in wanted:
            if keyword not in table and len(table) < MOST:
                table.append(keyword)
        lines = (f"{number} {keyword}\n" for number, keyword in enumerate(table) if keyword)
        disk.replace(path, "".join(lines).encode(), mode)
    return table
