"""Statements of SQLAlchemy Core as JSON, for ``ctx.db`` of a plugin in a process of its own: what may be in one, and its values.

What crosses is the tree of a statement (sqlout.py writes it, sqlin.py reads it), never text of SQL: so the server sees that it is about
the plugin's own tables, and uses nothing but these operators, functions and types. Imported only where a plugin has tables.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData

OPERATORS = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "inv", "concat_op", "in_op", "not_in_op",
    "is_", "is_not", "is_distinct_from", "is_not_distinct_from", "like_op", "not_like_op", "ilike_op", "not_ilike_op", "contains_op",
    "not_contains_op", "startswith_op", "not_startswith_op", "endswith_op", "not_endswith_op", "between_op", "not_between_op", "distinct_op",
    "icontains_op", "istartswith_op", "iendswith_op", "desc_op", "asc_op", "nulls_first_op", "nulls_last_op", "and_", "or_", "is_true", "is_false",
})  # fmt: skip
FUNCTIONS = frozenset({
    "count", "sum", "min", "max", "avg", "total", "coalesce", "nullif", "lower", "upper", "length", "char_length", "abs", "round", "floor",
    "ceil", "substr", "trim", "ltrim", "rtrim", "replace", "instr", "greatest", "least", "now", "current_timestamp", "date", "julianday",
    "row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value", "ntile",
})  # fmt: skip
_TYPES = frozenset({
    "Integer", "BigInteger", "SmallInteger", "Text", "String", "Unicode", "UnicodeText", "Float", "Double", "Numeric", "Boolean", "LargeBinary",
    "DateTime", "Date", "NullType",
})  # fmt: skip
_ARGUMENTS = ("length", "precision", "scale", "asdecimal", "timezone")
Tree = Any
"""JSON: a list whose first is the kind of node."""


class Uncrossable(LookupError):
    """What is in the statement that cannot leave the process."""


def type_out(kind: Any) -> Tree:
    """Raises Uncrossable."""
    name = type(kind).__name__
    if name not in _TYPES or type(kind).__module__ != "sqlalchemy.sql.sqltypes":
        raise Uncrossable(f"the type {name}; there are {', '.join(sorted(_TYPES))}")
    found = {key: value for key in _ARGUMENTS if isinstance(value := getattr(kind, key, None), int | bool)}
    variants = {dialect: type_out(one) for dialect, one in getattr(kind, "_variant_mapping", {}).items()}
    return [name, found, variants]


def type_in(tree: Tree) -> Any:
    name, found, variants = tree
    if name not in _TYPES:
        raise Uncrossable(f"the type {str(name)[:80]}")
    if name == "NullType":
        return sa.types.NullType()
    known: dict[str, Any] = {key: value for key, value in found.items() if key in _ARGUMENTS and isinstance(value, int)}
    made = getattr(sa, name)(**known)
    for dialect, one in variants.items():
        made = made.with_variant(type_in(one), str(dialect))
    return made


def value_out(value: Any) -> Any:
    """Raises Uncrossable."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime.datetime | datetime.date):
        return {type(value).__name__: value.isoformat()}
    if isinstance(value, list | tuple | set | frozenset):
        return [value_out(one) for one in value]
    raise Uncrossable(f"a value of the type {type(value).__name__}")


def value_in(value: Any) -> Any:
    if isinstance(value, list):
        return [value_in(one) for one in value]
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        if kind == "bytes":
            return base64.b64decode(text)
        return (datetime.datetime if kind == "datetime" else datetime.date).fromisoformat(text)
    return value


def rows_out(rows: Sequence[Any]) -> Any:
    """Rows as SQLAlchemy has them; ``rows_in`` makes such again."""
    return {"keys": list(rows[0]._fields) if rows else [], "rows": [[value_out(cell) for cell in row] for row in rows]}


def rows_in(tree: Any) -> Sequence[Any]:
    rows = [tuple(value_in(cell) for cell in row) for row in tree["rows"]]
    return IteratorResult(SimpleResultMetaData(tree["keys"]), iter(rows)).all()
