"""Storage commitment: transactions, what proves a delivery, its kind, and the line of jobs to each peer."""

import sqlalchemy as sa
from alembic import op

from db.base import Instant

revision = "0002"
down_revision = "0001"

DELIVERIES = "lodestone_deliveries"
TRUST_THE_ANSWER = """
UPDATE lodestone_deliveries SET evidence = 'answered', accepted_at = delivered_at WHERE state = 'delivered'
"""
NAME_THE_KIND = """
UPDATE lodestone_deliveries SET kind = COALESCE(
    (SELECT made.kind FROM lodestone_outputs made
     WHERE made.run_key = lodestone_deliveries.run_key
     AND made.sop_instance_uid = lodestone_deliveries.sop_instance_uid), '')
"""
FORGET_WHAT_WAITS = "UPDATE lodestone_deliveries SET state = 'delivered' WHERE state = 'accepted'"
FORGET_REFUSALS = "UPDATE lodestone_deliveries SET state = 'failed' WHERE state = 'refused'"
ADDED = ("kind", "evidence", "resends", "transaction_uid", "accepted_at")


def upgrade() -> None:
    """Add what commitment needs; what was delivered before rests on the peer's answer to the store alone."""
    _extend_deliveries()
    _create_commitments()
    _create_dispatches()


def downgrade() -> None:
    """Drop it again; deliveries that wait for a commitment count as delivered, as they did then."""
    op.execute(FORGET_WHAT_WAITS)
    op.execute(FORGET_REFUSALS)
    op.drop_table("lodestone_dispatches")
    op.drop_table("lodestone_commitments")
    for column in ADDED:
        op.drop_column(DELIVERIES, column)


def _extend_deliveries() -> None:
    op.add_column(DELIVERIES, sa.Column("kind", sa.String(length=32), server_default="", nullable=False))
    op.add_column(DELIVERIES, sa.Column("evidence", sa.String(length=16), nullable=True))
    op.add_column(DELIVERIES, sa.Column("resends", sa.Integer(), server_default="0", nullable=False))
    op.add_column(DELIVERIES, sa.Column("transaction_uid", sa.String(length=64), nullable=True))
    op.add_column(DELIVERIES, sa.Column("accepted_at", Instant(), nullable=True))
    op.execute(TRUST_THE_ANSWER)
    op.execute(NAME_THE_KIND)


def _create_commitments() -> None:
    op.create_table(
        "lodestone_commitments",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sop_instance_uids", sa.JSON(), nullable=False),
        sa.Column("requested_at", Instant(), nullable=False),
        sa.Column("answer_by", Instant(), nullable=True),
        sa.Column("answered_at", Instant(), nullable=True),
        sa.Column("n_committed", sa.Integer(), nullable=False),
        sa.Column("n_failed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["lodestone_runs.key"], name=op.f("fk_lodestone_commitments_run_key")),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_lodestone_commitments")),
    )
    op.create_index(op.f("ix_lodestone_commitments_run_key"), "lodestone_commitments", ["run_key"], unique=False)


def _create_dispatches() -> None:
    op.create_table(
        "lodestone_dispatches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("job_number", sa.Integer(), nullable=False),
        sa.Column("running_job", sa.Integer(), nullable=True),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["lodestone_runs.key"], name=op.f("fk_lodestone_dispatches_run_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_dispatches")),
        sa.UniqueConstraint("run_key", "peer", name=op.f("uq_lodestone_dispatches_run_key_peer")),
    )
    op.create_index(op.f("ix_lodestone_dispatches_run_key"), "lodestone_dispatches", ["run_key"], unique=False)
