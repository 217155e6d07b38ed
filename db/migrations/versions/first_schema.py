"""The record's first schema: series, instances, artefacts, runs, outputs, deliveries and the audit."""

import sqlalchemy as sa
from alembic import op

from db.base import Instant

revision = "0001"
down_revision = None

SQLITE_GUARD = """
CREATE TRIGGER lodestone_audit_no_{verb} BEFORE {verb} ON lodestone_audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
"""
POSTGRESQL_FUNCTION = """
CREATE FUNCTION lodestone_audit_guard() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$
"""
POSTGRESQL_GUARD = """
CREATE TRIGGER lodestone_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lodestone_audit
FOR EACH STATEMENT EXECUTE FUNCTION lodestone_audit_guard()
"""


def upgrade() -> None:
    """Create all tables, and let the database itself refuse changes to the audit."""
    _create_audit()
    _create_series()
    _create_runs()
    _guard_the_audit()


def downgrade() -> None:
    """Drop everything: this is the first schema."""
    for table in ("deliveries", "outputs", "runs", "instances", "artefacts", "series", "audit_head", "audit"):
        op.drop_table(f"lodestone_{table}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION lodestone_audit_guard")


def _guard_the_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(SQLITE_GUARD.format(verb=verb))
    else:
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_GUARD)


def _create_audit() -> None:
    op.create_table(
        "lodestone_audit",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_lodestone_audit")),
    )
    op.create_index(op.f("ix_lodestone_audit_event"), "lodestone_audit", ["event"], unique=False)
    op.create_index(op.f("ix_lodestone_audit_subject"), "lodestone_audit", ["subject"], unique=False)
    op.create_table(
        "lodestone_audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_audit_head")),
    )


def _create_series() -> None:
    op.create_table(
        "lodestone_series",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=True),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=True),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("n_instances", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=True),
        sa.Column("destinations", sa.JSON(), nullable=False),
        sa.Column("refusal_class", sa.String(length=64), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("completeness", sa.Text(), nullable=False),
        sa.Column("partner_key", sa.String(length=32), nullable=True),
        sa.Column("progress_step", sa.String(length=64), nullable=True),
        sa.Column("progress_fraction", sa.Float(), nullable=True),
        sa.Column("workflow_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("last_received_at", Instant(), nullable=False),
        sa.Column("association_ended_at", Instant(), nullable=True),
        sa.Column("enqueued_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["partner_key"], ["lodestone_series.key"], name=op.f("fk_lodestone_series_partner_key")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_lodestone_series")),
        sa.UniqueConstraint(
            "series_instance_uid",
            "sop_class_uid",
            name=op.f("uq_lodestone_series_series_instance_uid_sop_class_uid"),
        ),
    )
    op.create_index(op.f("ix_lodestone_series_partner_key"), "lodestone_series", ["partner_key"], unique=False)
    op.create_index(op.f("ix_lodestone_series_state"), "lodestone_series", ["state"], unique=False)
    op.create_index(
        op.f("ix_lodestone_series_study_instance_uid"), "lodestone_series", ["study_instance_uid"], unique=False
    )
    op.create_table(
        "lodestone_artefacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_key", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_key"], ["lodestone_series.key"], name=op.f("fk_lodestone_artefacts_series_key")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_artefacts")),
        sa.UniqueConstraint(
            "series_key", "revision", "name", name=op.f("uq_lodestone_artefacts_series_key_revision_name")
        ),
    )
    op.create_index(op.f("ix_lodestone_artefacts_series_key"), "lodestone_artefacts", ["series_key"], unique=False)
    op.create_table(
        "lodestone_instances",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_key", sa.String(length=32), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("dataset_sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("inbox_name", sa.String(length=128), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("standing", sa.String(length=16), nullable=False),
        sa.Column("frames", sa.JSON(), nullable=True),
        sa.Column("refusal_class", sa.String(length=64), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["series_key"], ["lodestone_series.key"], name=op.f("fk_lodestone_instances_series_key")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_instances")),
    )
    op.create_index(op.f("ix_lodestone_instances_series_key"), "lodestone_instances", ["series_key"], unique=False)
    op.create_index(
        op.f("ix_lodestone_instances_sop_instance_uid"), "lodestone_instances", ["sop_instance_uid"], unique=False
    )
    op.create_index(
        "uq_lodestone_instances_kept",
        "lodestone_instances",
        ["sop_instance_uid"],
        unique=True,
        sqlite_where=sa.text("standing = 'kept'"),
        postgresql_where=sa.text("standing = 'kept'"),
    )


def _create_runs() -> None:
    op.create_table(
        "lodestone_runs",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("series_key", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("input_digest", sa.String(length=64), nullable=False),
        sa.Column("acquisition", sa.JSON(), nullable=False),
        sa.Column("recipe_name", sa.Text(), nullable=False),
        sa.Column("recipe_text", sa.Text(), nullable=False),
        sa.Column("recipe_digest", sa.String(length=64), nullable=False),
        sa.Column("software", sa.JSON(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("performed_at", Instant(), nullable=False),
        sa.Column("seal_document", sa.Text(), nullable=True),
        sa.Column("seal", sa.String(length=64), nullable=True),
        sa.Column("sealed_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["series_key"], ["lodestone_series.key"], name=op.f("fk_lodestone_runs_series_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_lodestone_runs")),
        sa.UniqueConstraint("series_key", "revision", name=op.f("uq_lodestone_runs_series_key_revision")),
    )
    op.create_index(op.f("ix_lodestone_runs_series_key"), "lodestone_runs", ["series_key"], unique=False)
    op.create_table(
        "lodestone_deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_attempt_at", Instant(), nullable=True),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("delivered_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["run_key"], ["lodestone_runs.key"], name=op.f("fk_lodestone_deliveries_run_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_deliveries")),
        sa.UniqueConstraint(
            "run_key", "sop_instance_uid", "peer", name=op.f("uq_lodestone_deliveries_run_key_sop_instance_uid_peer")
        ),
    )
    op.create_index(op.f("ix_lodestone_deliveries_run_key"), "lodestone_deliveries", ["run_key"], unique=False)
    op.create_table(
        "lodestone_outputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["run_key"], ["lodestone_runs.key"], name=op.f("fk_lodestone_outputs_run_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lodestone_outputs")),
        sa.UniqueConstraint("run_key", "sop_instance_uid", name=op.f("uq_lodestone_outputs_run_key_sop_instance_uid")),
    )
    op.create_index(op.f("ix_lodestone_outputs_run_key"), "lodestone_outputs", ["run_key"], unique=False)
    op.create_index(
        op.f("ix_lodestone_outputs_series_instance_uid"), "lodestone_outputs", ["series_instance_uid"], unique=False
    )
    op.create_index(
        op.f("ix_lodestone_outputs_sop_instance_uid"), "lodestone_outputs", ["sop_instance_uid"], unique=False
    )
