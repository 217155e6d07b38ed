"""Alembic's entry: run migrations on the connection that `db.session.migrate` hands over."""

from alembic import context

from db.base import PREFIX
from db.schema import METADATA
from db.session import VERSION_TABLE


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Leave the job engine's tables alone: only names with our prefix are ours."""
    return kind != "table" or (name or "").startswith(PREFIX)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    include_name=include_name,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
