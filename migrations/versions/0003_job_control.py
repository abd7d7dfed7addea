"""Jobs have priorities, queues and a record of each attempt, and may be done again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("training_jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("training_jobs", sa.Column("queue", sa.String(), nullable=True))
    op.add_column("training_jobs", sa.Column("retry_of", sa.String(), nullable=True))
    op.create_index("ix_training_jobs_status_priority_id", "training_jobs", ["status", "priority", "id"], unique=False)
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["training_jobs.id"]),
        sa.PrimaryKeyConstraint("job_id", "attempt"),
    )


def downgrade() -> None:
    op.drop_table("job_attempts")
    op.drop_index("ix_training_jobs_status_priority_id", table_name="training_jobs")
    for column in ("retry_of", "queue", "priority"):
        op.drop_column("training_jobs", column)
