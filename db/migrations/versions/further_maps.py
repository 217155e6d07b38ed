"""Further maps: rows of the series that are mapped by another recipe, each with a journey of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SERIES, UNIQUE = "lodestone_series", "uq_lodestone_series_map"


def upgrade() -> None:
    """Add what names a further map; every series that came before is one map.

    SQLite adds no foreign key to a table that exists, so `map_of` has none on either database.
    """
    op.add_column(SERIES, sa.Column("map_of", sa.String(length=32), nullable=True))
    op.add_column(SERIES, sa.Column("map_by", sa.Text(), nullable=True))
    op.create_index(UNIQUE, SERIES, ["map_of", "map_by"], unique=True)


def downgrade() -> None:
    """Drop it again; a further map stays as a series without a SeriesInstanceUID, with its runs and objects."""
    op.drop_index(UNIQUE, table_name=SERIES)
    op.drop_column(SERIES, "map_by")
    op.drop_column(SERIES, "map_of")
