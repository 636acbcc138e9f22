"""The tables, as they are now."""
# SPDX-License-Identifier: Apache-2.0

import sqlalchemy as sa

METADATA = sa.MetaData()

TRIPLETS = sa.Table(
    "greylist_triplets",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("first", sa.Float, nullable=False),
    sa.Column("last", sa.Float, nullable=False),
    sa.Column("passes", sa.Integer, nullable=False),
    sa.UniqueConstraint("client", "sender", "recipient", name="greylist_triplets_key"),
    sa.Index("greylist_triplets_last", "passes", "last"),
)
ALLOWED = sa.Table(
    "greylist_allowed",
    METADATA,
    sa.Column("entry", sa.Text, primary_key=True),
    sa.Column("made_by", sa.Text, nullable=False),  # operator, passes, mail
    sa.Column("last", sa.Float, nullable=False),
)
