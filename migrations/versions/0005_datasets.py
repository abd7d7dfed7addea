"""Data sets tell what was left out of them, what their rows are like, and from which upload they came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
_COLUMNS = (
    "lease_until", "attempt", "error_count", "errors", "rows_read", "wishes", "status", "statistics", "skipped_rows",
    "fingerprint",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("datasets", sa.Column("fingerprint", sa.String(), nullable=True))
    op.add_column("datasets", sa.Column("skipped_rows", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("statistics", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("status", sa.String(), nullable=False, server_default="ready"))
    op.add_column("datasets", sa.Column("wishes", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("rows_read", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("errors", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("error_count", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("datasets", sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_datasets_fingerprint", "datasets", ["fingerprint"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_datasets_fingerprint", table_name="datasets")
    with op.batch_alter_table("datasets") as table:
        for column in _COLUMNS:
            table.drop_column(column)
