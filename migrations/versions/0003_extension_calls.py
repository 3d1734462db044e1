"""Calls of modules that the host lends."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As in the first revision: SQLite numbers rows by INTEGER only, and a JSON column there changes numbers.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "extension_calls",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("execution_id", sa.String(length=128), nullable=False),
        sa.Column("extension", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("response_bytes", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("arguments", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_extension_calls_execution_id_executions", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_extension_calls"),
    )
    op.create_index("ix_extension_calls_execution_id", "extension_calls", ["execution_id"], unique=False)


def downgrade() -> None:
    op.drop_table("extension_calls")
