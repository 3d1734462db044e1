"""Whether the process of an attempt was waiting for it, and how long it took to reach it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("python_executions", sa.Column("warm", sa.Boolean()))
    op.add_column("python_executions", sa.Column("dispatch_time_ms", sa.Double()))


def downgrade() -> None:
    with op.batch_alter_table("python_executions") as batch:
        batch.drop_column("dispatch_time_ms")
        batch.drop_column("warm")
