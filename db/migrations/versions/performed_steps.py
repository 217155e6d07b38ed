"""Performed procedure steps: what scanners say they have begun and ended, and what they list."""

import sqlalchemy as sa
from alembic import op

from db.base import Instant

revision = "0003"
down_revision = "0002"

STEPS, LISTED = "lodestone_performed_steps", "lodestone_performed_series"


def upgrade() -> None:
    """Add the two tables; series that came before are announced by nobody."""
    op.create_table(
        STEPS,
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("study_instance_uids", sa.JSON(), nullable=False),
        sa.Column("begun_sha256", sa.String(length=64), nullable=False),
        sa.Column("last_sha256", sa.String(length=64), nullable=True),
        sa.Column("begun_at", Instant(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_lodestone_performed_steps")),
    )
    op.create_index(op.f("ix_lodestone_performed_steps_state"), STEPS, ["state"], unique=False)
    op.create_table(
        LISTED,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("step_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uids", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["step_uid"],
            ["lodestone_performed_steps.sop_instance_uid"],
            name=op.f("fk_lodestone_performed_series_step_uid"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_performed_series")),
    )
    op.create_index(op.f("ix_lodestone_performed_series_step_uid"), LISTED, ["step_uid"], unique=False)
    op.create_index(
        op.f("ix_lodestone_performed_series_series_instance_uid"), LISTED, ["series_instance_uid"], unique=False
    )


def downgrade() -> None:
    """Drop them; completeness then rests on counts and the clock again."""
    op.drop_table(LISTED)
    op.drop_table(STEPS)
