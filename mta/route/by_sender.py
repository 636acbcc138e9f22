"""Tables of the config by the envelope sender: its address, else its domain; "<>" is the null sender."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from typing import Generic, TypeVar

from mta.model.address import Address
from mta.model.domain import normalise

T = TypeVar("T")


class BySender(Generic[T]):
    """Local parts are read without regard to case. Raises ValueError for a key that is none."""

    def __init__(self, table: Mapping[str, T]) -> None:
        self._table = {_key(sender): value for sender, value in table.items()}

    def __bool__(self) -> bool:
        return bool(self._table)

    def find(self, sender: Address | None) -> T | None:
        if sender is None:
            return self._table.get("")
        found = self._table.get(f"{sender.local.lower()}@{sender.domain}")
        return self._table.get(sender.domain) if found is None else found


def _key(sender: str) -> str:
    local, at, domain = sender.rpartition("@")
    if sender == "<>":
        return ""
    return f"{local.lower()}@{normalise(domain)}" if at and local else normalise(domain)
