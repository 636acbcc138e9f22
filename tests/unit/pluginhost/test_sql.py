"""Statements and schemas that cross to another process: the same SQL on the other side, and nothing but what is known."""
# SPDX-License-Identifier: Apache-2.0

import json
import re

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mta.pluginhost.sqlin import statement_in
from mta.pluginhost.sqlout import statement_out
from mta.pluginhost.sqlschema import schema_in, schema_out
from mta.pluginhost.sqltree import rows_in, rows_out
from mta_hooks.backends import Schema

METADATA = sa.MetaData()
T = sa.Table(
    "t_x",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("a", sa.Text, server_default="x"),
    sa.Column("f", sa.Float, nullable=False, server_default=sa.text("0")),
    sa.Column("b", sa.Boolean),
    sa.Column("d", sa.BigInteger().with_variant(sa.Integer, "sqlite"), default=7),
    sa.Column("o", sa.LargeBinary, default=lambda: b"made"),
    sa.UniqueConstraint("a", "f", name="t_x_key"),
)
sa.Index("t_x_f", T.c.f.desc(), T.c.a)
Y = sa.Table("t_y", METADATA, sa.Column("id", sa.Integer, sa.ForeignKey("t_x.id", ondelete="CASCADE"), primary_key=True))
c, U = T.c, T.alias("u")
SUB = sa.select(c.id, sa.func.count().label("n")).where(c.f > 1).group_by(c.id).subquery()
CONDITIONS = [
    c.a.contains("x_", autoescape=True), c.a.startswith("%", autoescape=True), c.a.ilike("x%"), c.a.not_like("a"), c.id.in_([1, 2]),
    c.id.not_in([]), c.id.in_(sa.select(c.id).limit(3)), c.id.between(1, 2), ~c.b, c.b, c.b == sa.true(), c.id + 1 + c.id > 3, -c.id > 2,
    sa.exists().where(U.c.id == c.id), ~sa.exists(sa.select(U.c.id).where(U.c.id == c.id)), sa.case((c.id == 1, "x"), else_="y") == "x",
    sa.cast(c.id, sa.Text) == "3", c.a.is_(None), c.a.is_not(None), sa.not_(sa.or_(c.id == 1, sa.and_(c.f > 2, c.b))), c.a + "x" == "yx",
    c.id % 3 == 1, sa.func.lower(c.a) == "x", c.id == sa.select(sa.func.max(c.id)).scalar_subquery(), (c.id - 1) * 2 > c.d, c.o == b"\xff",
    sa.func.coalesce(c.f, 1.0) / 2 > 0.1,
]  # fmt: skip
UPSERT = postgresql.insert(T).values(id=1, a="x")
COUNTED = sa.select(c.a, sa.func.count().label("n")).group_by(c.a).cte("counted")
FIRST = sa.select(c.id, c.d).where(c.id == 1).cte("chain", recursive=True)
CHAIN = FIRST.union_all(sa.select(U.c.id, U.c.d).join(FIRST, FIRST.c.d == U.c.id))
STATEMENTS = [sa.select(T).where(one) for one in CONDITIONS] + [
    sa.select(c.id, sa.func.count(sa.distinct(c.a)).label("n"), sa.literal(5)).group_by(c.a).having(sa.func.count() > 1)
    .order_by(c.a.desc().nulls_last(), c.id.asc()).limit(3).offset(1).distinct(),
    sa.select(sa.func.count()).select_from(SUB),
    sa.select(SUB.c.n, c.a).join(SUB, SUB.c.id == c.id, isouter=True),
    sa.select(U.c.a).select_from(T.join(U, U.c.id == c.d)),
    sa.union_all(sa.select(c.id), sa.select(c.d)).limit(2),
    T.update().where(c.id == 1).values(a="x", d=c.d + 1),
    T.update().where(c.id == 1).values({c.a: None}),
    T.delete().where(c.id.in_(sa.select(c.id).where(c.f < 2).limit(10))),
    T.insert().from_select(["id", "a", "d", "o"], sa.select(c.id + 100, c.a, c.d, c.o)),
    UPSERT.on_conflict_do_nothing(),
    UPSERT.on_conflict_do_nothing(index_elements=[c.a, "f"]),
    UPSERT.on_conflict_do_update(index_elements=["id"], set_={"a": UPSERT.excluded.a, c.f: c.f + 1, "b": None, "d": 9}, where=c.f < UPSERT.excluded.f),
    UPSERT.on_conflict_do_update(index_elements=[c.id], index_where=c.b.is_(True), set_={"a": "y"}),
    postgresql.insert(T).from_select(["id", "a", "d", "o"], sa.select(c.id, c.a, c.d, c.o).where(sa.true())).on_conflict_do_nothing(),
    sa.select(COUNTED.c.a, c.id).join(COUNTED, COUNTED.c.a == c.a).where(COUNTED.c.n > 1),
    sa.select(CHAIN).order_by(CHAIN.c.id),
    T.delete().where(c.a.in_(sa.select(COUNTED.c.a))),
    sa.select(c.id, sa.func.row_number().over(partition_by=c.a, order_by=[c.f.desc(), c.id]).label("n"), sa.func.sum(c.f).over()),
]  # fmt: skip


def crossed(statement):
    schema = schema_in(json.loads(json.dumps(schema_out(Schema(METADATA)))), "t_")
    return statement_in(json.loads(json.dumps(statement_out(statement))), schema.metadata.tables)


def sql(statement, dialect):
    text = str(statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))
    return re.sub(r"%\(\w+\)s|\bu\b|anon_\d+|\w+_\d+", "?", re.sub(r"\s+", " ", text))


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda one: " ".join(str(one).split())[-60:])
@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda one: one.name)
def test_a_statement_is_the_same_on_the_other_side(statement, dialect) -> None:
    assert sql(crossed(statement), dialect) == sql(statement, dialect)


def test_rows_defaults_and_values() -> None:
    schema = schema_in(json.loads(json.dumps(schema_out(Schema(METADATA)))), "t_")
    engine = sa.create_engine("sqlite://")
    schema.metadata.create_all(engine)
    assert {index["name"] for index in sa.inspect(engine).get_indexes("t_x")} == {"t_x_f"}
    assert sa.inspect(engine).get_foreign_keys("t_y")[0]["options"] == {"ondelete": "CASCADE"}
    with engine.begin() as connection:
        connection.execute(crossed(T.insert().values(id=1, b=True)))
        connection.execute(
            crossed(T.insert().values([{"id": 2, "a": "é", "f": 1.5, "o": b"\xff"}, {"id": 3, "a": "z", "f": 2.0, "d": 1}]))
        )
        rows = connection.execute(crossed(sa.select(T).order_by(T.c.id))).all()
        counted = connection.execute(crossed(sa.select(sa.func.count()).select_from(T))).all()
    back = rows_in(json.loads(json.dumps(rows_out(rows))))
    assert [tuple(row) for row in back][:2] == [(1, "x", 0.0, True, 7, b"made"), (2, "é", 1.5, None, 7, b"\xff")]
    assert (back[2].a, back[2].d, back[0]._mapping["o"]) == ("z", 1, b"made")
    assert rows_in(rows_out(counted))[0][0] == 3
    assert list(rows_in(rows_out([]))) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (sa.text("select 1"), "TextClause"),
        (sa.select(sa.literal_column("password")), "text"),
        (sa.select(c.id).where(sa.text("1=1")), "TextClause"),
        (sa.select(sa.func.load_extension("x")), "load_extension"),
        (T.select().with_for_update(), "for update"),
        (sqlite.insert(T).values(id=1).on_conflict_do_nothing(), "postgresql.insert"),
        (UPSERT.on_conflict_do_nothing(constraint="t_x_key"), "index_elements"),
        (mysql.insert(T).values(id=1).on_duplicate_key_update(a="x"), "ON CONFLICT"),
        (T.insert().values(id=1).prefix_with("OR REPLACE"), "prefix"),
        (T.insert().values(id=1).returning(c.id), "RETURNING"),
        (sa.select(c.a.op("||")("x")), "custom_op"),
        (sa.select(sa.func.sum(c.f).over(order_by=c.id, rows=(None, 0))), "frame"),
        (sa.select(c.id).cte(nesting=True).select(), "CTE"),
        (T.delete().returning(c.id).cte().select(), "Delete"),
        (T.insert().values(a=object()), "object"),
    ],
)
def test_what_does_not_cross_is_named(statement, named) -> None:
    with pytest.raises(LookupError, match=named):
        statement_out(statement)


TREE = statement_out(sa.select(c.id).where(c.id == 1))["tree"]


@pytest.mark.parametrize(
    "tree",
    [
        ["select", {**TREE[1], "columns": [["column", ["table", "users"], "password"]]}, TREE[2]],
        ["select", {**TREE[1], "columns": [["column", ["table", "t_x"], "none"]]}, TREE[2]],
        ["select", {**TREE[1], "where": [["function", "load_extension", []]]}, TREE[2]],
        ["select", {**TREE[1], "where": [["binary", "custom_op", ["null"], ["null"], {}, ["Text", {}, {}]]]}, TREE[2]],
        ["select", {**TREE[1], "where": [["cast", ["null"], ["Evil", {}, {}]]]}, TREE[2]],
        ["delete", ["table", "users"], []],
        ["insert", ["table", "t_x"], [[]]],
        ["insert", ["table", "t_x"], [[]], {"columns": ["none"], "where": None, "update": None}],
        ["insert", ["table", "t_x"], [[]], {"columns": [], "where": None, "update": [[["a", ["null"]]], None]}],
        ["insert", ["table", "t_x"], [[]], {"columns": ["id"], "where": None, "update": [[["a", ["text", "x"]]], None]}],
        ["insert", ["table", "t_x"], [[]], {"columns": ["id"], "where": None, "update": [[["none", ["null"]]], None]}],
        ["select", {**TREE[1], "columns": [["column", ["excluded", "users"], "password"]]}, TREE[2]],
        ["select", {**TREE[1], "columns": [["over", ["null"], [], []]]}, TREE[2]],
        ["text", "drop table users"],
        ["select", 5, 5],
        ["source", 99],
        [],
    ],
)
def test_what_a_hostile_process_writes_is_no_statement(tree) -> None:
    with pytest.raises((LookupError, ValueError)):
        statement_in({"tree": tree, "sources": []}, METADATA.tables)


def deep(levels):
    tree = ["null"]
    for _ in range(levels):
        tree = ["unary", "neg", None, tree, ["Integer", {}, {}]]
    return tree


def test_depth_is_bounded() -> None:
    tree = ["select", {**TREE[1], "where": [deep(500)]}, TREE[2]]
    with pytest.raises(LookupError):
        statement_in({"tree": tree, "sources": []}, METADATA.tables)


# ---- migrations

OLD = sa.table("t_x", sa.column("id"), sa.column("a"))


def first(operations):
    with operations.batch_alter_table("t_x") as batch:
        batch.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
        batch.alter_column("a", new_column_name="aa", existing_type=sa.Text())
    operations.create_table("t_z", sa.Column("id", sa.Integer, primary_key=True))
    operations.create_index("t_z_id", "t_z", ["id"], unique=True)


def second(operations):
    operations.execute(OLD.update().values(id=OLD.c.id + 1))
    operations.drop_table("t_z")


def test_migrations_are_replayed() -> None:
    schema = schema_in(json.loads(json.dumps(schema_out(Schema(METADATA, (first, second))))), "t_")
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(T.insert().values(id=1))
        operations = Operations(MigrationContext.configure(connection))
        schema.migrations[0](operations)
        schema.migrations[1](operations)
        assert connection.execute(sa.text("select id, aa, note from t_x")).all() == [(2, "x", "")]
        assert not sa.inspect(connection).has_table("t_z")


@pytest.mark.parametrize(
    ("migration", "named"),
    [
        (lambda o: o.get_bind(), "get_bind"),
        (lambda o: o.execute("DROP TABLE users"), "text of SQL"),
        (lambda o: o.drop_table("users"), "users"),
        (lambda o: o.rename_table("t_x", "users"), "users"),
        (lambda o: o.add_column("users", sa.Column("x", sa.Text)), "users"),
        (lambda o: o.execute(sa.table("users", sa.column("x")).delete()), "users"),
        (lambda o: o.add_column("t_x", sa.Column("x", sa.Text), schema="other"), "schema"),
        (lambda o: o.create_index("t_i", "users", ["x"]), "users"),
    ],
)
def test_migrations_that_may_not_be(migration, named) -> None:
    with pytest.raises((LookupError, ValueError), match=named):
        schema_in(json.loads(json.dumps(schema_out(Schema(METADATA, (migration,))))), "t_")


def test_a_server_default_is_a_value() -> None:
    metadata = sa.MetaData()
    sa.Table("t_x", metadata, sa.Column("id", sa.Integer, primary_key=True, server_default=sa.text("(select 1)")))
    with pytest.raises(LookupError, match="server default"):
        schema_out(Schema(metadata))


def test_a_recursion_may_read_only():
    with pytest.raises(LookupError, match="recursive CTE"):
        crossed(T.delete().where(c.id.in_(sa.select(CHAIN.c.id))))
