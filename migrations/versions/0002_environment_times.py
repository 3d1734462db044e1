"""How long each step on the way to an attempt's environment took."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A column of the type JSON has numeric affinity in SQLite, which changes numbers.
DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("python_executions", sa.Column("environment_times", DOCUMENT))


def downgrade() -> None:
    with op.batch_alter_table("python_executions") as batch:
        batch.drop_column("environment_times")
