"""Data sets tell of themselves and may be read later; whole files are answered."""

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
    op.create_table(
        "file_predictions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("artifact", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("encoding", sa.String(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("rows_done", sa.Integer(), nullable=False),
        sa.Column("failed_rows", sa.Integer(), nullable=False),
        sa.Column("rows_per_second", sa.Float(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("errors", sa.JSON(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("file_predictions")
    op.drop_index("ix_datasets_fingerprint", table_name="datasets")
    with op.batch_alter_table("datasets") as table:
        for column in _COLUMNS:
            table.drop_column(column)
