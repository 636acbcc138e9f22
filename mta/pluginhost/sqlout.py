"""A statement of SQLAlchemy Core as a tree for JSON (sqltree.py); by the process of the plugin that made it.

Refused by name: text, literal_column, what only one dialect has, RETURNING, frames of window functions, locking. Defaults of columns
that are functions of Python's are asked here, where they are.
"""
# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: SLF001  # SQLAlchemy has no other names for the parts of a statement

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.dml import OnConflictDoNothing, OnConflictDoUpdate
from sqlalchemy.sql import elements, functions, operators, selectable

from mta.pluginhost.sqltree import FUNCTIONS, OPERATORS, Tree, Uncrossable, type_out, value_out

_UNKNOWN_IN_SELECT = (
    "_for_update_arg",
    "_prefixes",
    "_suffixes",
    "_hints",
    "_statement_hints",
    "_distinct_on",
    "_independent_ctes",
    "_correlate",
    "_fetch_clause",
)


_SOURCES = (sa.TableClause, selectable.Join, selectable.Alias, selectable.Subquery, selectable.CTE)


class _Out:
    """``tables``: columns that were named, by table."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, None]] = {}
        self._sources: list[Any] = []
        self.sources: list[Tree] = []

    def statement(self, given: Any) -> Tree:
        if isinstance(given, sa.Insert | sa.Update | sa.Delete):
            return self._change(given)
        return self.select(given)

    # -- expressions

    def __call__(self, given: Any) -> Tree:
        for kind, write in _WRITERS:
            if isinstance(given, kind):
                return write(self, given)
        raise Uncrossable(f"{type(given).__name__}")

    def _each(self, given: Any) -> list[Tree]:
        return [self(one) for one in given]

    def column(self, given: Any) -> Tree:
        if given.table is None:
            if given.name == "*":
                return ["star"]
            raise Uncrossable("text or a column without a table")
        source = self.source(given.table)
        if source[0] == "table":
            self.tables[source[1]][given.name] = None
        return ["column", source, given.name]

    def source(self, given: Any) -> Tree:
        if isinstance(given, sa.TableClause):
            self.tables.setdefault(given.name, {})
            return ["table", given.name]
        if isinstance(given, selectable.Join):
            return ["join", self.source(given.left), self.source(given.right), self(given.onclause), given.isouter, given.full]
        if not isinstance(given, selectable.Alias | selectable.Subquery | selectable.CTE):
            raise Uncrossable(f"{type(given).__name__}")
        element = given.element
        if isinstance(element, sa.TableClause) and given.name == "excluded":  # the row that ON CONFLICT kept out
            return ["excluded", *self.source(element)[1:]]
        if given not in self._sources:
            if isinstance(given, selectable.CTE):
                inner = self._cte(given)
            else:
                inner = self.source(element) if isinstance(element, sa.TableClause) else self.select(element)
            self._sources.append(given)
            self.sources.append(inner)
        return ["source", self._sources.index(given)]

    def _cte(self, given: Any) -> Tree:
        if given.nesting or given._cte_alias is not None or given._prefixes or given._suffixes:
            raise Uncrossable("a CTE that is nested, aliased or materialized")
        if (first := given._restates) is not None:  # the rest of it refers to itself by its first part
            return [
                "cte_again",
                self.source(first)[1],
                given.element.keyword.name,
                [self.select(one) for one in given.element.selects[1:]],
            ]
        return [
            "cte",
            None if isinstance(given.name, elements._anonymous_label) else given.name,
            given.recursive,
            self.select(given.element),
        ]

    def value(self, given: Any) -> Tree:
        return ["value", value_out(given.effective_value), type_out(given.type), bool(given.expanding)]

    def binary(self, given: Any) -> Tree:
        modifiers = {key: value for key, value in given.modifiers.items() if isinstance(value, str | bool)}
        return ["binary", _operator_out(given.operator), self(given.left), self(given.right), modifiers, type_out(given.type)]

    def unary(self, given: Any) -> Tree:
        operator, modifier = given.operator, given.modifier
        return [
            "unary", None if operator is None else _operator_out(operator), None if modifier is None else _operator_out(modifier),
            self(given.element), type_out(given.type),
        ]  # fmt: skip

    def clauses(self, given: Any) -> Tree:
        return ["list", _operator_out(given.operator), self._each(given.clauses)]

    def as_boolean(self, given: Any) -> Tree:
        return ["boolean", given.operator is operators.is_true, self(given.element)]

    def function(self, given: Any) -> Tree:
        if given.name not in FUNCTIONS or bool(getattr(given, "packagenames", None)):
            raise Uncrossable(f"the function {given.name}; there are {', '.join(sorted(FUNCTIONS))}")
        return ["function", given.name, self._each(given.clauses)]

    def case(self, given: Any) -> Tree:
        whens = [[self(when), self(then)] for when, then in given.whens]
        value, otherwise = given.value, given.else_
        return ["case", whens, None if value is None else self(value), None if otherwise is None else self(otherwise)]

    def exists(self, given: Any) -> Tree:
        return ["exists", self(given.element)]

    def over(self, given: Any) -> Tree:
        if any(frame is not None for frame in (given.range_, given.rows, given.groups)):
            raise Uncrossable("a window function with a frame")
        parts, order = ([] if by is None else self._each(by.clauses) for by in (given.partition_by, given.order_by))
        return ["over", self(given.element), parts, order]

    # -- SELECT

    def select(self, given: Any) -> Tree:
        if isinstance(given, selectable.SelectStatementGrouping | selectable.ScalarSelect):
            return self.select(given.element)
        if isinstance(given, sa.CompoundSelect):
            return ["compound", given.keyword.name, [self.select(one) for one in given.selects], self._tail(given)]
        if not isinstance(given, sa.Select):
            raise Uncrossable(f"{type(given).__name__}")
        if unknown := [name for name in _UNKNOWN_IN_SELECT if not _is_nothing(getattr(given, name, None))]:
            raise Uncrossable(unknown[0].strip("_").replace("_", " "))
        joins = [
            [self.source(target), None if on is None else self(on), None if left is None else self.source(left), dict(flags)]
            for target, on, left, flags in given._setup_joins
        ]
        columns = [self.source(one) if isinstance(one, _SOURCES) else self(one) for one in given._raw_columns]
        body = {
            "columns": columns, "from": [self.source(one) for one in given._from_obj], "joins": joins,
            "where": self._each(given._where_criteria), "having": self._each(given._having_criteria), "distinct": bool(given._distinct),
        }  # fmt: skip
        return ["select", body, self._tail(given)]

    def _tail(self, given: Any) -> Tree:
        limit, offset = given._limit_clause, given._offset_clause
        return {
            "group": self._each(given._group_by_clauses), "order": self._each(given._order_by_clauses),
            "limit": None if limit is None else self(limit), "offset": None if offset is None else self(offset),
        }  # fmt: skip

    # -- INSERT, UPDATE, DELETE

    def _change(self, given: Any) -> Tree:
        table = given.table
        if given._returning:
            raise Uncrossable("RETURNING; ctx.db.write says how many rows it touched")
        if given._prefixes or given._independent_ctes or getattr(given, "_ordered_values", None):
            raise Uncrossable("a prefix, add_cte or ordered_values")
        source = self.source(table)
        if isinstance(given, sa.Delete):
            return ["delete", source, self._each(given._where_criteria)]
        if isinstance(given, sa.Update):
            return ["update", source, self._row(table, given._values or {}, "onupdate"), self._each(given._where_criteria)]
        if given.select is not None:
            names = [getattr(name, "name", name) for name in given._select_names]
            self._name(table, names)
            if lacking := [c.name for c in table.columns if c.name not in names and getattr(c, "default", None) is not None]:
                raise Uncrossable(f"INSERT from SELECT without {lacking[0]}, which has a default")
            return ["insert_from", source, names, self.select(given.select), self._conflict(given)]
        rows = [row for rows in given._multi_values for row in rows] if given._multi_values else [given._values or {}]
        return ["insert", source, [self._row(table, row, "default") for row in rows], self._conflict(given)]

    def _conflict(self, given: Any) -> Tree:
        """ON CONFLICT as SQLAlchemy's dialect for PostgreSQL has it, which SQLite speaks too."""
        clause = given._post_values_clause
        if clause is None:
            return None
        if not isinstance(clause, OnConflictDoNothing | OnConflictDoUpdate) or clause.constraint_target is not None:
            raise Uncrossable(
                "ON CONFLICT of one dialect alone; sqlalchemy.dialects.postgresql.insert with index_elements is for both"
            )
        names = [getattr(one, "name", one) for one in clause.inferred_target_elements or ()]
        where, found = clause.inferred_target_whereclause, {"columns": names, "update": None}
        found["where"] = None if where is None else self(where)
        if isinstance(clause, OnConflictDoUpdate):
            condition = clause.update_whereclause
            found["update"] = [self._row(given.table, clause.update_values_to_set), None if condition is None else self(condition)]
        self._name(given.table, names)
        return found

    def _row(self, table: Any, row: Any, default: str = "") -> list[Tree]:
        names = [column.name for column in table.columns]
        given = (
            dict(zip(names, row, strict=False))
            if isinstance(row, list | tuple)
            else {getattr(k, "name", k): v for k, v in row.items()}
        )
        for column in table.columns if default else ():
            made = getattr(column, default, None)
            if column.name not in given and made is not None and (made.is_scalar or made.is_callable):
                given[column.name] = made.arg(None) if made.is_callable else made.arg
        self._name(table, given)
        return [
            [name, self(value) if isinstance(value, elements.ClauseElement) else ["value", value_out(value), None, False]]
            for name, value in given.items()
        ]

    def _name(self, table: Any, names: Any) -> None:
        self.tables[table.name].update(dict.fromkeys(names))


_WRITERS: tuple[tuple[Any, Callable[[_Out, Any], Tree]], ...] = (
    (elements.BindParameter, _Out.value),
    (elements.Label, lambda out, given: ["label", given.name, out(given.element)]),
    (elements.ColumnClause, _Out.column),
    (elements.Grouping, lambda out, given: out(given.element)),
    (elements.Null, lambda _out, _given: ["null"]),
    (elements.True_, lambda _out, _given: ["true"]),
    (elements.False_, lambda _out, _given: ["false"]),
    (elements.AsBoolean, _Out.as_boolean),
    (selectable.Exists, _Out.exists),
    (elements.UnaryExpression, _Out.unary),
    (elements.BinaryExpression, _Out.binary),
    (elements.BooleanClauseList, _Out.clauses),
    (elements.ExpressionClauseList, _Out.clauses),
    (functions.Function, _Out.function),
    (functions.GenericFunction, _Out.function),
    (elements.Cast, lambda out, given: ["cast", out(given.clause), type_out(given.type)]),
    (elements.Case, _Out.case),
    (elements.Over, _Out.over),
    (selectable.ScalarSelect, lambda out, given: ["scalar", out.select(given)]),
    (selectable.SelectBase, _Out.select),
)


def statement_out(statement: Any) -> dict[str, Any]:
    """Raises LookupError naming what cannot cross."""
    out = _Out()
    try:
        tree = out.statement(statement)
    except Uncrossable as exc:
        raise Uncrossable(f"ctx.db from a process of its own: a statement with {exc}") from None
    return {"tree": tree, "sources": out.sources, "tables": {name: list(columns) for name, columns in out.tables.items()}}


def expression_out(expression: Any) -> Tree:
    """Of a constraint or an index. Raises LookupError."""
    return _Out()(expression)


def _is_nothing(part: Any) -> bool:
    return part is None or part is False or (isinstance(part, Mapping | tuple) and not part)


def _operator_out(operator: Any) -> str:
    name: str = getattr(operator, "__name__", type(operator).__name__)
    if name not in OPERATORS or getattr(operators, name, None) is not operator:
        raise Uncrossable(f"the operator {name}")
    return name
