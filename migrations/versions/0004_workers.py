"""Workers say that they are there; jobs of a model are found by their status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_training_jobs_model_status_id", "training_jobs", ["model", "status", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_training_jobs_model_status_id", table_name="training_jobs")
    op.drop_table("workers")
