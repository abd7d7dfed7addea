"""Aliases split their traffic, have a shadow, and remember what they were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _traffic() -> list[sa.Column[object]]:
    """What both tables of aliases have."""
    return [
        sa.Column("canary_version", sa.Integer(), nullable=True),
        sa.Column("canary_weight", sa.Float(), nullable=True),
        sa.Column("shadow_version", sa.Integer(), nullable=True),
    ]


def upgrade() -> None:
    for column in _traffic():
        op.add_column("model_aliases", column)
    op.create_table(
        "alias_changes",
        sa.Column("id", _ID, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *_traffic(),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("back_to", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["models.name"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alias_changes_model_alias_id", "alias_changes", ["model", "alias", "id"], unique=False)
    op.create_table(
        "shadow_figures",
        sa.Column("change_id", _ID, nullable=False),
        sa.Column("compared", sa.BigInteger(), nullable=False),
        sa.Column("disagreed", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("examples", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["alias_changes.id"]),
        sa.PrimaryKeyConstraint("change_id"),
    )
    # What an alias is set to now is the beginning of its history.
    op.execute(
        "INSERT INTO alias_changes (model, alias, version, changed_at, changed_by) "
        "SELECT model, alias, version, updated_at, 'migration' FROM model_aliases"
    )


def downgrade() -> None:
    op.drop_table("shadow_figures")
    op.drop_index("ix_alias_changes_model_alias_id", table_name="alias_changes")
    op.drop_table("alias_changes")
    for column in _traffic():
        op.drop_column("model_aliases", column.name)
