"""Tables and migrations of ``registry.schema`` as JSON and back, for a plugin in a process of its own (sqltree.py).

A migration is run over there against a recorder: what it would do to the tables crosses, and is done here by alembic, each name looked at. One
that asks the database before it decides, or writes text of SQL, cannot be recorded and is refused while loading.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mta.pluginhost.sqlin import expression_in, statement_in
from mta.pluginhost.sqlout import expression_out, statement_out
from mta.pluginhost.sqltree import Tree, Uncrossable, type_in, type_out
from mta_hooks.backends.tables import Schema

_TABLE_OPTIONS = ("sqlite_autoincrement", "sqlite_with_rowid")
_LITERAL = re.compile(
    r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?\Z|'[^'\\]{0,200}'\Z|NULL\Z|TRUE\Z|FALSE\Z|CURRENT_TIMESTAMP\Z", re.IGNORECASE
)
_NAMES: Mapping[str, tuple[int, ...]] = {
    "add_column": (0,), "drop_column": (0,), "alter_column": (0,), "create_index": (0, 1), "drop_index": (0,), "create_table": (0,),
    "drop_table": (0,), "rename_table": (0, 1), "create_unique_constraint": (1,), "drop_constraint": (1,), "execute": (), "batch": (0,),
}  # fmt: skip
"""Operations, and which of their arguments name tables and indexes."""
_IN_BATCH = frozenset(
    {"add_column", "drop_column", "alter_column", "create_index", "drop_index", "create_unique_constraint", "drop_constraint"}
)
_OPTIONS = frozenset({
    "nullable", "server_default", "new_column_name", "type_", "existing_type", "existing_nullable", "existing_server_default", "unique",
    "table_name", "index_name", "if_exists", "if_not_exists", "recreate",
})  # fmt: skip


# ---- out


def schema_out(schema: Schema) -> dict[str, Any]:
    """Raises LookupError naming what cannot cross."""
    try:
        tables = [_table_out(table) for table in schema.metadata.sorted_tables]
        return {"tables": tables, "migrations": [_recorded(migration) for migration in schema.migrations]}
    except Uncrossable as exc:
        raise Uncrossable(f"registry.schema from a process of its own: {exc}") from None


def _table_out(table: sa.Table) -> Tree:
    options = dict(table.dialect_kwargs)
    if unknown := [name for name in options if name not in _TABLE_OPTIONS or not isinstance(options[name], bool)]:
        raise Uncrossable(f"{unknown[0]} of the table {table.name}")
    constraints = [_constraint_out(one) for one in table.constraints if not isinstance(one, sa.PrimaryKeyConstraint)]
    indexes = [_index_out(one) for one in table.indexes]
    return {
        "name": table.name, "columns": [_column_out(one) for one in table.columns], "options": options,
        "constraints": sorted(constraints, key=str), "indexes": sorted(indexes, key=str),
    }  # fmt: skip


def _column_out(column: Any) -> Tree:
    if column.computed is not None or column.identity is not None:
        raise Uncrossable(f"a computed or identity column, {column.name}")
    default = column.server_default
    return {
        "name": column.name, "type": type_out(column.type), "primary_key": column.primary_key, "nullable": column.nullable,
        "autoincrement": column.autoincrement, "server_default": None if default is None else _default_out(default.arg),
        "unique": bool(column.unique) and column.table is None, "index": bool(column.index) and column.table is None,
    }  # fmt: skip


def _default_out(given: Any) -> Tree:
    if isinstance(given, str):
        return given
    text = str(given)
    if not _LITERAL.match(text):
        raise Uncrossable(f"the server default {text[:80]}")
    return {"literal": text}


def _constraint_out(given: Any) -> Tree:
    name = given.name if isinstance(given.name, str) else None
    if isinstance(given, sa.UniqueConstraint):
        return ["unique", name, [column.name for column in given.columns]]
    if isinstance(given, sa.ForeignKeyConstraint):
        return ["foreign", name, list(given.column_keys), [key.target_fullname for key in given.elements], given.ondelete]
    if isinstance(given, sa.CheckConstraint):
        return ["check", name, expression_out(given.sqltext)]
    raise Uncrossable(f"{type(given).__name__}")


def _index_out(index: sa.Index) -> Tree:
    if any(value is not None and value != {} and value is not False and value != [] for value in index.dialect_kwargs.values()):
        raise Uncrossable(f"what only one dialect has, of the index {index.name}")
    return [index.name, [expression_out(one) for one in index.expressions], bool(index.unique)]


class _Recorder:
    """alembic's Operations, as far as they cross."""

    def __init__(self, calls: list[Tree], known: frozenset[str]) -> None:
        self._calls, self._known = calls, known

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in self._known:
            raise Uncrossable(f"a migration with operations.{name}")
        return lambda *args, **options: self._calls.append(
            [name, [_argument_out(one) for one in args], {key: _argument_out(one) for key, one in options.items()}]
        )

    @contextlib.contextmanager
    def batch_alter_table(self, table: str, **options: Any) -> Iterator["_Recorder"]:
        inner: list[Tree] = []
        yield _Recorder(inner, _IN_BATCH)
        self._calls.append(["batch", [table, inner], {key: _argument_out(one) for key, one in options.items()}])

    def f(self, name: str) -> str:
        return name


def _recorded(migration: Any) -> list[Tree]:
    calls: list[Tree] = []
    migration(_Recorder(calls, frozenset(_NAMES) - {"batch"}))
    return calls


def _argument_out(given: Any) -> Tree:
    if given is None or isinstance(given, bool | int):
        return given
    if isinstance(given, str):
        return {"text": str(given)}
    if isinstance(given, list | tuple):
        return [_argument_out(one) for one in given]
    if isinstance(given, sa.Column):
        return {"column": _column_out(given)}
    if isinstance(given, sa.types.TypeEngine) or (isinstance(given, type) and issubclass(given, sa.types.TypeEngine)):
        return {"type": type_out(sa.types.to_instance(given))}
    if isinstance(given, sa.Insert | sa.Update | sa.Delete):
        return {"statement": statement_out(given)}
    if isinstance(given, sa.UniqueConstraint):
        return {"unique": [given.name, [str(name) for name in given._pending_colargs]]}  # noqa: SLF001  # no table yet
    return {"default": _default_out(given)}


# ---- in


def schema_in(given: Mapping[str, Any], prefix: str) -> Schema:
    """``prefix``: what names must begin with. Raises LookupError, ValueError for what is no schema."""
    metadata = sa.MetaData()
    try:
        for table in given["tables"]:
            _table_in(metadata, table, prefix)
        return Schema(metadata, tuple(_replayed(calls, prefix) for calls in given["migrations"]))
    except Uncrossable:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, sa.exc.SQLAlchemyError) as exc:
        raise ValueError(f"registry.schema: {str(exc)[:200]}") from None


def _table_in(metadata: sa.MetaData, given: Mapping[str, Any], prefix: str) -> None:
    options: dict[str, Any] = {name: value is True for name, value in given["options"].items() if name in _TABLE_OPTIONS}
    table = sa.Table(_own(given["name"], prefix), metadata, *(_column_in(one) for one in given["columns"]), **options)
    known = {table.name: table}
    for kind, name, *rest in given["constraints"]:
        if kind == "unique":
            table.append_constraint(sa.UniqueConstraint(*rest[0], name=name))
        elif kind == "check":
            table.append_constraint(sa.CheckConstraint(expression_in(rest[0], known), name=name))
        else:
            targets = [_own(target, prefix) for target in rest[1]]
            deleted = rest[2] if rest[2] in ("CASCADE", "SET NULL", "RESTRICT") else None
            table.append_constraint(sa.ForeignKeyConstraint(rest[0], targets, name=name, ondelete=deleted))
    for name, trees, unique in given["indexes"]:
        sa.Index(_own(name, prefix), *(expression_in(tree, known) for tree in trees), unique=unique is True)


def _column_in(given: Mapping[str, Any]) -> sa.Column[Any]:
    return sa.Column(
        str(given["name"]),
        type_in(given["type"]),
        primary_key=given["primary_key"] is True,
        nullable=given["nullable"] is True,
        autoincrement=given["autoincrement"] if isinstance(given["autoincrement"], bool) else "auto",
        server_default=_default_in(given["server_default"]),
        unique=True if given["unique"] is True else None,
        index=True if given["index"] is True else None,
    )


def _default_in(given: Tree) -> Any:
    if given is None or isinstance(given, str):
        return given
    if not _LITERAL.match(given["literal"]):
        raise Uncrossable(f"the server default {str(given['literal'])[:80]}")
    return sa.text(given["literal"])


def _own(name: Any, prefix: str) -> str:
    if not isinstance(name, str) or not name.startswith(prefix):
        raise Uncrossable(f"{str(name)[:80]}, which does not begin with {prefix}")
    return name


def _replayed(calls: Sequence[Tree], prefix: str) -> Callable[[Any], None]:
    ready = [_call_in(call, prefix, frozenset(_NAMES)) for call in calls]

    def migration(operations: Any) -> None:
        for call in ready:
            call(operations)

    return migration


def _call_in(call: Tree, prefix: str, known: frozenset[str]) -> Callable[[Any], None]:
    name, args, options = call
    if name not in known or options.keys() - _OPTIONS:
        raise Uncrossable(f"a migration with operations.{str(name)[:80]}({', '.join(options)})"[:300])
    given = {key: _argument_in(one, prefix) for key, one in options.items()}
    for key in ("table_name", "index_name"):
        if key in given:
            _own(given[key], prefix)
    if name == "batch":
        table, inner = _own(args[0], prefix), [_call_in(one, prefix, _IN_BATCH) for one in args[1]]

        def batch(operations: Any) -> None:
            with operations.batch_alter_table(table, **given) as over:
                for one in inner:
                    one(over)

        return batch
    if name == "execute" and not (len(args) == 1 and isinstance(args[0], dict) and "statement" in args[0]):
        raise Uncrossable("a migration that executes text of SQL: write statements of SQLAlchemy")
    values = [_argument_in(one, prefix) for one in args]
    if known is not _IN_BATCH:
        for place in _NAMES[name]:
            _own(values[place], prefix)
    elif name in ("create_index", "drop_index"):
        _own(values[0], prefix)

    def run(operations: Any) -> None:
        getattr(operations, name)(*(value() if callable(value) else value for value in values), **given)

    return run


def _argument_in(given: Tree, prefix: str) -> Any:
    if isinstance(given, list):
        return [_argument_in(one, prefix) for one in given]
    if not isinstance(given, dict):
        return given
    ((kind, value),) = given.items()
    if kind == "text":
        return str(value)
    if kind == "column":
        return lambda: _column_in(value)  # a column is in one table only: made anew each time
    if kind == "type":
        return type_in(value)
    if kind == "default":
        return _default_in(value)
    if kind == "unique":
        return lambda: sa.UniqueConstraint(*value[1], name=value[0])
    tables = {
        _own(name, prefix): sa.table(name, *(sa.column(str(one)) for one in columns)) for name, columns in value["tables"].items()
    }
    return statement_in(value, tables)
