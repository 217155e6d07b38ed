"""Creator versions: whose raw data an instance holds, so that the raw data of one creator are found."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INSTANCES, INDEX = "lodestone_instances", "ix_lodestone_instances_creator_version_uid"


def upgrade() -> None:
    """Add the index; of raw data that came before it is unknown."""
    op.add_column(INSTANCES, sa.Column("creator_version_uid", sa.String(length=64), nullable=True))
    op.create_index(INDEX, INSTANCES, ["creator_version_uid"])


def downgrade() -> None:
    """Drop it again."""
    op.drop_index(INDEX, table_name=INSTANCES)
    op.drop_column(INSTANCES, "creator_version_uid")
