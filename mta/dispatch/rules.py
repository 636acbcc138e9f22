"""Which entry of a table of config ``queue`` is meant: by name of a domain or host, or by what a next hop answered."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping
from typing import Generic, TypeVar

from mta.config.delivery import RetryRule

T = TypeVar("T")
_CODES = re.compile(r"(\d{3})(?: (\d\.\d{1,3}\.\d{1,3}))?")


class Names(Generic[T]):
    """``find`` takes the name itself, then the longest ``*.`` above it, then ``*``."""

    def __init__(self, table: Mapping[str, T]) -> None:
        self._exact = {name: value for name, value in table.items() if not name.startswith("*")}
        self._below = {name[2:]: value for name, value in table.items() if name.startswith("*.")}
        self._any = table.get("*")

    def __bool__(self) -> bool:
        return bool(self._exact or self._below or self._any is not None)

    def find(self, name: str) -> T | None:
        if (found := self._exact.get(name)) is not None:
            return found
        rest = name
        while self._below and (dot := rest.find(".")) >= 0:
            rest = rest[dot + 1 :]
            if (found := self._below.get(rest)) is not None:
                return found
        return self._any


class Answers:
    """``find`` takes the longest enhanced code that a reply begins with, then its code, then ``4xx``."""

    def __init__(self, table: Mapping[str, RetryRule]) -> None:
        self._table = table

    def find(self, reply: str) -> RetryRule | None:
        if not self._table or (codes := _CODES.match(reply)) is None:
            return None
        enhanced = codes[2] or ""
        while enhanced:
            if (found := self._table.get(enhanced)) is not None:
                return found
            enhanced = enhanced.rpartition(".")[0]
        return self._table.get(codes[1]) or self._table.get(f"{codes[1][0]}xx")
