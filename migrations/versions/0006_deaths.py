"""Processes that have died are counted apart from attempts; the same upload is stored once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
_NOT_INVALID = sa.text("status != 'invalid'")
_LATER_ONES = """
    UPDATE datasets SET fingerprint = NULL
    WHERE EXISTS (SELECT 1 FROM datasets AS earlier
                  WHERE earlier.fingerprint = datasets.fingerprint AND earlier.id < datasets.id)
"""


def upgrade() -> None:
    op.add_column("datasets", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("file_predictions", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.execute(_LATER_ONES)
    op.drop_index("ix_datasets_fingerprint", table_name="datasets")
    op.create_index(
        "ix_datasets_fingerprint",
        "datasets",
        ["fingerprint"],
        unique=True,
        sqlite_where=_NOT_INVALID,
        postgresql_where=_NOT_INVALID,
    )


def downgrade() -> None:
    op.drop_index("ix_datasets_fingerprint", table_name="datasets")
    op.create_index("ix_datasets_fingerprint", "datasets", ["fingerprint"], unique=False)
    for table in ("datasets", "file_predictions"):
        with op.batch_alter_table(table) as changed:
            changed.drop_column("deaths")
