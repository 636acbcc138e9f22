"""``ctx.db``: a plugin's own tables."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mta.model.errors import TemporaryFailure
from mta.pluginhost.check import PluginRefused
from mta_hooks.backends.tables import Schema, Tables

if TYPE_CHECKING:
    from sqlalchemy import Executable

    from mta.pluginhost.context import Services


def prefix_of(plugin: str) -> str:
    """What the names of a plugin's tables begin with."""
    return re.sub(r"[^a-z0-9]", "_", plugin.lower()) + "_"


def check_schema(plugin: str, schema: Schema) -> None:
    """Raises PluginRefused for a name that another's tables could have."""
    prefix = prefix_of(plugin)
    tables = schema.metadata.tables.values()
    if not tables:
        raise PluginRefused("registry.schema: the metadata has no tables")
    names = [(table.name, "table") for table in tables] + [(str(i.name), "index") for t in tables for i in t.indexes]
    for name, kind in names:
        if not name.startswith(prefix) or not re.fullmatch(r"[a-z0-9_]{1,60}", name):
            raise PluginRefused(f"registry.schema: the {kind} {name} must begin with {prefix}, in lower case, at most 60 octets")
    if any(table.schema for table in tables):
        raise PluginRefused("registry.schema: tables live in the server's own schema: give none")


class OwnTables:
    """Fulfils mta_hooks.services.PluginDatabase: statements over the plugin's own tables, and no others."""

    __slots__ = ("_names", "_plugin", "_services")

    def __init__(self, plugin: str, schema: Schema | None, services: "Services") -> None:
        self._plugin = plugin
        self._names = frozenset(schema.metadata.tables) if schema is not None else frozenset[str]()
        self._services = services

    async def read(self, statement: "Executable") -> Sequence[Any]:
        tables = self._checked(statement)
        if getattr(statement, "is_dml", False):  # on a connection that only reads, outside of every transaction
            raise LookupError(f"{self._plugin}: ctx.db.read is for SELECT; ctx.db.write changes rows")
        return await tables.read(statement)

    async def write(self, *statements: "Executable") -> list[int]:
        tables = self._checked(*statements)
        if any(getattr(statement, "_returning", ()) for statement in statements):
            raise LookupError(f"{self._plugin}: ctx.db.write says how many rows it touched and has no place for those of RETURNING")
        return await tables.write(statements)

    def _checked(self, *statements: "Executable") -> Tables:
        """Raises LookupError for what is not the plugin's, TemporaryFailure before the database is open."""
        if not self._names:
            raise LookupError(f"{self._plugin} offers no registry.schema: it has no tables")
        for statement in statements:
            _refuse_others(statement, self._names, self._plugin)
        if self._services.tables is None:
            raise TemporaryFailure("the database is not open yet")
        return self._services.tables


def _refuse_others(statement: "Executable", names: frozenset[str], plugin: str) -> None:
    from sqlalchemy import ClauseElement, Table, TextClause
    from sqlalchemy.sql import visitors

    if not isinstance(statement, ClauseElement):
        raise LookupError(f"{plugin}: ctx.db takes statements of SQLAlchemy, not {type(statement).__name__}")
    for element in visitors.iterate(statement):
        if element is not statement and getattr(element, "is_dml", False):
            raise LookupError(f"{plugin}: a change within another statement, which ctx.db does not run")
        table = element if isinstance(element, Table) else getattr(element, "table", None)
        if isinstance(element, TextClause) or (isinstance(table, Table) and table.name not in names):
            named = f"the table {table.name}" if isinstance(table, Table) else "text of its own"
            raise LookupError(f"{plugin}: a statement over {named}; ctx.db is for the tables of registry.schema")
