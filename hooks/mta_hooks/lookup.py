"""Tables that say something about addresses, clients and texts: what ``ctx.table`` answers, and what a backend of kind "table" is.

    plugins:
      access:
        sender: hash:/etc/postfix/sender_access      # or a name of config ``tables``, a mapping, or a list of these

    found = await ctx.table(ctx.config.sender).find(address_keys(sender))

Keys are asked as Postfix does, the most specific first. Tables of patterns (regexp, pcre, cidr) see the whole key only.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mta.model.address import Address
from mta.model.errors import ConfigError

if TYPE_CHECKING:
    from mta_hooks.services import Context, Log, Threads

TableSource = str | dict[str, str | list[str]] | list[str | dict[str, str | list[str]]]
"""How an operator names a table: ``type:argument``, a name of config ``tables``, keys and values, or a list of these, asked in turn."""


class Table(Protocol):
    """What a plugin asks. Raises TemporaryFailure when the table cannot be read now."""

    @property
    def empty(self) -> bool:
        """Nothing was named: no key has a value."""
        ...

    async def get(self, key: str) -> str | None:
        """The value of this key as it is."""
        ...

    async def find(self, keys: Sequence[str], *, whole: bool = True) -> str | None:
        """The value of the first of these keys that has one; the first key is the whole one.

        whole  False: they are parts all of them, and patterns are not asked
        """
        ...

    async def match(self, keys: Sequence[str], *, whole: bool = True) -> tuple[str, str] | None:
        """The same with the key that it was: (key, value)."""
        ...

    async def open(self) -> None:
        """Read it now, so that mistakes are told at the start. Raises ConfigError with file and line."""
        ...


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a factory of kind "table" gets beside the source: ``factory("sql:SELECT …", options)``.

    data_dir  the server's; database: the URL of its own database
    threads   for work that blocks
    """

    data_dir: str
    database: str
    threads: "Threads"
    log: "Log"


class TableBackend(Protocol):
    """What a factory of kind "table" makes. Made once for each source and worker; asked from the event loop.

    patterns  keys are asked whole only, never by parts
    """

    patterns: bool

    async def open(self) -> None:
        """Raises ConfigError."""
        ...

    async def get(self, key: str) -> str | None:
        """Raises TemporaryFailure."""
        ...


def domain_keys(domain: str) -> Iterator[str]:
    """``sub.example.org``, ``.example.org``, ``.org``: a name, then its parents with a dot in front."""
    yield domain
    at = domain.find(".")
    while at >= 0 and not domain.startswith("["):
        yield domain[at:]
        at = domain.find(".", at + 1)


def address_keys(address: Address | None, *, delimiter: str = "+", null: str = "<>", access: bool = False) -> list[str]:
    """Full address, without its detail, then ``user``s and domains; the null sender is ``null``.

    access  the order of access(5): ``user@domain``, ``domain``, ``.parent``, ``user@``; else that of canonical(5) and virtual(5):
            ``user@domain``, ``@domain``
    """
    if address is None:
        return [null]
    text = str(address).lower()
    local = text[: len(text) - len(address.domain) - 1] if address.domain else text
    base, mark, _ = local.partition(delimiter) if delimiter and not local.startswith('"') else (local, "", "")
    forms = [local, base] if mark and base else [local]
    keys = [f"{form}@{address.domain}" for form in forms]
    if not access:
        return [*keys, f"@{address.domain}"]
    return [*keys, *domain_keys(address.domain), *(f"{form}@" for form in forms)]


def detail_of(address: Address, key: str, delimiter: str = "+") -> str:
    """What stood behind the delimiter, when ``key`` is the address without it: "+detail" goes on to the result, as in Postfix."""
    text = str(address).lower()
    if key.startswith("@") or key == text:
        return ""
    base, mark, detail = address.local.partition(delimiter)
    return mark + detail if key.partition("@")[0] == base.lower() else ""


def client_keys(ip: str) -> list[str]:
    """An address and its networks by octets (or by groups of IPv6): ``192.0.2.1``, ``192.0.2``, ``192.0``, ``192``."""
    mark = ":" if ":" in ip else "."
    keys = [ip.lower()]
    while mark in keys[-1]:
        keys.append(keys[-1].rpartition(mark)[0].rstrip(mark))
    return [key for key in keys if key]


async def open_tables(ctx: "Context", names: Iterable[str]) -> dict[str, Table]:
    """The tables that these keys of the plugin's config name, read: for ``startup``. Raises ConfigError naming the key."""
    tables = {}
    for name in names:
        try:
            tables[name] = ctx.table(getattr(ctx.config, name))
            await tables[name].open()
        except ConfigError as exc:
            raise ConfigError(exc.where, f"plugins.{ctx.plugin}.{name}", exc.problem, exc.fix) from exc
    return tables
