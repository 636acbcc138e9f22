"""A tree from outside as a statement of SQLAlchemy Core over known tables (sqltree.py). Nothing in it is believed."""
# SPDX-License-Identifier: Apache-2.0

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import elements, operators

from mta.pluginhost.sqltree import FUNCTIONS, OPERATORS, Tree, Uncrossable, type_in, value_in

_COMPOUNDS: Mapping[str, Callable[..., Any]] = {
    "UNION": sa.union, "UNION_ALL": sa.union_all, "EXCEPT": sa.except_, "INTERSECT": sa.intersect,
}  # fmt: skip
_DEEPEST = 60
"""Nested expressions."""


class _In:
    def __init__(self, sources: Sequence[Tree], tables: Mapping[str, Any]) -> None:
        self._tables = tables
        self._deep = 0
        self._sources: list[Any] = []
        for tree in sources:
            self._sources.append(self._named(tree))

    def statement(self, tree: Tree) -> Any:
        if tree[0] in ("select", "compound"):
            return self.select(tree)
        if any(getattr(source, "recursive", False) for source in self._sources):
            raise Uncrossable("a recursive CTE in a statement that changes rows: nobody bounds how long it holds up all others")
        table = self._source(tree[1])
        if tree[0] == "insert":
            rows = [self._row(row) for row in tree[2]]
            return self._unless(tree[3], postgresql.insert(table).values(rows if len(rows) != 1 else rows[0]))
        if tree[0] == "insert_from":
            made = postgresql.insert(table).from_select([str(name) for name in tree[2]], self.select(tree[3]))
            return self._unless(tree[4], made)
        if tree[0] == "update":
            return table.update().values(self._row(tree[2])).where(*self._each(tree[3]))
        if tree[0] == "delete":
            return table.delete().where(*self._each(tree[2]))
        raise Uncrossable(f"{str(tree[0])[:80]}")

    def _unless(self, conflict: Tree, made: Any) -> Any:
        """PostgreSQL's ON CONFLICT is SQLite's too."""
        if conflict is None:
            return made
        where = None if conflict["where"] is None else self(conflict["where"])
        names = [str(name) for name in conflict["columns"]]
        row, condition = conflict["update"] or ((), None)
        changed = self._row(row)
        if unknown := [name for name in (*names, *changed) if name not in made.table.c]:
            raise Uncrossable(f"the column {unknown[0][:80]}, which is not there")
        if not changed:
            return made.on_conflict_do_nothing(index_elements=names or None, index_where=where)
        condition = None if condition is None else self(condition)
        return made.on_conflict_do_update(index_elements=names or None, index_where=where, set_=changed, where=condition)

    def _row(self, row: Tree) -> dict[str, Any]:
        return {
            str(name): self(value) if value[0] != "value" or value[2] is not None else value_in(value[1]) for name, value in row
        }

    def __call__(self, tree: Tree) -> Any:
        read = _READERS.get(tree[0])
        if read is None or self._deep > _DEEPEST:
            raise Uncrossable(f"{str(tree[0])[:80]}")
        self._deep += 1
        try:
            return read(self, *tree[1:])
        finally:
            self._deep -= 1

    def _each(self, trees: Sequence[Tree]) -> list[Any]:
        return [self(tree) for tree in trees]

    def _named(self, tree: Tree) -> Any:
        """An alias, a subquery or a CTE."""
        if tree[0] == "table":
            return self._source(tree).alias()
        if tree[0] == "cte":
            _, name, recursive, element = tree
            return self.select(element).cte(None if name is None else str(name), recursive=recursive is True)
        if tree[0] == "cte_again":
            _, first, keyword, rest = tree
            each = [self.select(one) for one in rest]
            return (self._sources[first].union_all if keyword == "UNION_ALL" else self._sources[first].union)(*each)
        return self.select(tree).subquery()

    def _source(self, tree: Tree) -> Any:
        if tree[0] == "excluded":
            return self._source(["table", tree[1]]).alias("excluded")
        if tree[0] == "table":
            if tree[1] not in self._tables:
                raise Uncrossable(f"the table {str(tree[1])[:80]}; ctx.db is for the tables of registry.schema")
            return self._tables[tree[1]]
        if tree[0] == "source":
            return self._sources[tree[1]]
        if tree[0] == "join":
            _, left, right, on, outer, full = tree
            return sa.join(self._source(left), self._source(right), self(on), isouter=outer is True, full=full is True)
        raise Uncrossable(f"{str(tree[0])[:80]}")

    def column(self, source: Tree, name: str) -> Any:
        found = self._source(source).c
        if name not in found:
            raise Uncrossable(f"the column {str(name)[:80]}, which is not there")
        return found[name]

    def value(self, value: Any, kind: Tree, expanding: bool) -> Any:
        made = sa.types.NullType() if kind is None else type_in(kind)
        return elements.BindParameter(None, value_in(value), type_=made, expanding=expanding is True, unique=True)

    def binary(self, name: str, left: Tree, right: Tree, modifiers: Mapping[str, Any], kind: Tree) -> Any:
        operator, known = _operator_in(name), {str(key): one for key, one in modifiers.items() if isinstance(one, str | bool)}
        if name in ("between_op", "not_between_op"):
            low, high = self._each(right[2])
            return self(left).operate(operator, low, high)
        if name in ("in_op", "not_in_op") and right[0] == "value":
            return self(left).operate(operator, value_in(right[1]))
        return elements.BinaryExpression(self(left), self(right), operator, type_=type_in(kind), modifiers=known)

    def unary(self, operator: str | None, modifier: str | None, element: Tree, kind: Tree) -> Any:
        return elements.UnaryExpression(
            self(element),
            operator=None if operator is None else _operator_in(operator),
            modifier=None if modifier is None else _operator_in(modifier),
            type_=type_in(kind),
        )

    def clauses(self, name: str, trees: Sequence[Tree]) -> Any:
        operator, each = _operator_in(name), self._each(trees)
        if name in ("and_", "or_"):
            return (sa.and_ if name == "and_" else sa.or_)(*each)
        return functools.reduce(lambda left, right: left.operate(operator, right), each)

    def boolean(self, is_true: bool, element: Tree) -> Any:
        return self(element) if is_true is True else sa.not_(self(element))

    def function(self, name: str, trees: Sequence[Tree]) -> Any:
        if name not in FUNCTIONS:
            raise Uncrossable(f"the function {str(name)[:80]}")
        return getattr(sa.func, name)(*self._each(trees))

    def case(self, whens: Sequence[Tree], value: Tree, otherwise: Tree) -> Any:
        pairs = [(self(when), self(then)) for when, then in whens]
        given = {} if value is None else {"value": self(value)}
        return sa.case(*pairs, else_=None if otherwise is None else self(otherwise), **given)

    def exists(self, element: Tree) -> Any:
        return sa.exists(self(element))

    def over(self, element: Tree, parts: Sequence[Tree], order: Sequence[Tree]) -> Any:
        if element[0] != "function":
            raise Uncrossable(f"OVER of {str(element[0])[:80]}")
        return sa.over(self(element), partition_by=self._each(parts) or None, order_by=self._each(order) or None)

    # -- SELECT

    def select(self, tree: Tree) -> Any:
        if tree[0] == "compound":
            made = _COMPOUNDS[tree[1]](*(self.select(one) for one in tree[2]))
            return self._tailed(made, tree[3])
        if tree[0] != "select":
            raise Uncrossable(f"{str(tree[0])[:80]}")
        body = tree[1]
        made = sa.select(*(self._source(one) if one[0] in ("table", "source") else self(one) for one in body["columns"]))
        if body["from"]:
            made = made.select_from(*(self._source(one) for one in body["from"]))
        for target, on, left, flags in body["joins"]:
            known = {"isouter": flags["isouter"] is True, "full": flags["full"] is True}
            onclause = None if on is None else self(on)
            if left is None:
                made = made.join(self._source(target), onclause, **known)
            else:
                made = made.join_from(self._source(left), self._source(target), onclause, **known)
        made = made.where(*self._each(body["where"])).having(*self._each(body["having"]))
        return self._tailed(made.distinct() if body["distinct"] is True else made, tree[2])

    def _tailed(self, made: Any, tail: Mapping[str, Any]) -> Any:
        if tail["group"]:
            made = made.group_by(*self._each(tail["group"]))
        if tail["order"]:
            made = made.order_by(*self._each(tail["order"]))
        if tail["limit"] is not None:
            made = made.limit(self(tail["limit"]))
        return made if tail["offset"] is None else made.offset(self(tail["offset"]))


_READERS: Mapping[str, Callable[..., Any]] = {
    "value": _In.value,
    "label": lambda read, name, tree: read(tree).label(str(name)),
    "column": _In.column,
    "star": lambda _read: sa.literal_column("*"),
    "null": lambda _read: sa.null(),
    "true": lambda _read: sa.true(),
    "false": lambda _read: sa.false(),
    "boolean": _In.boolean,
    "exists": _In.exists,
    "over": _In.over,
    "unary": _In.unary,
    "binary": _In.binary,
    "list": _In.clauses,
    "function": _In.function,
    "cast": lambda read, tree, kind: sa.cast(read(tree), type_in(kind)),
    "case": _In.case,
    "scalar": lambda read, tree: read.select(tree).scalar_subquery(),
    "select": lambda read, *tree: read.select(["select", *tree]),
    "compound": lambda read, *tree: read.select(["compound", *tree]),
}


def _operator_in(name: Any) -> Any:
    if name not in OPERATORS:
        raise Uncrossable(f"the operator {str(name)[:80]}")
    return getattr(operators, name)


def statement_in(given: Any, tables: Mapping[str, Any]) -> Any:
    """What ``statement_out`` was given, over these tables. Raises LookupError for what is not theirs, ValueError for what is none."""
    try:
        return _In(given["sources"], tables).statement(given["tree"])
    except LookupError as exc:
        raise exc if isinstance(exc, Uncrossable) else ValueError("no statement") from None
    except (TypeError, ValueError, AttributeError, sa.exc.SQLAlchemyError) as exc:
        raise ValueError(f"no statement: {str(exc)[:200]}") from None


def expression_in(tree: Tree, tables: Mapping[str, Any]) -> Any:
    """What ``expression_out`` was given. Raises LookupError, ValueError."""
    return _In((), tables)(tree)
