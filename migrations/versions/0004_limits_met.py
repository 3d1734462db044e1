"""Which limits an attempt met."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A column of the type JSON has numeric affinity in SQLite, which changes numbers.
DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("python_executions", sa.Column("limits_met", DOCUMENT))


def downgrade() -> None:
    with op.batch_alter_table("python_executions") as batch:
        batch.drop_column("limits_met")
