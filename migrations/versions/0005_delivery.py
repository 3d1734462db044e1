"""Leases that no change of a clock ends, messages kept until their execution has ended, output that is followed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only where the key's type is exactly INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# A column of the type JSON has numeric affinity in SQLite, which changes numbers.
DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("executions") as batch:
        batch.drop_column("lease_until")
        batch.add_column(sa.Column("lease_ends", sa.Double()))
        batch.add_column(sa.Column("lease_clock", sa.Text()))
        batch.add_column(sa.Column("claimed_from", sa.Text()))
        batch.add_column(sa.Column("watched_until", sa.Double()))
    op.add_column("python_executions", sa.Column("reused_from", sa.Text()))
    _create_deliveries()
    _create_live_output()
    _create_reusable_results()


def downgrade() -> None:
    op.drop_table("reusable_results")
    op.drop_table("live_output")
    op.drop_table("deliveries")
    with op.batch_alter_table("python_executions") as batch:
        batch.drop_column("reused_from")
    with op.batch_alter_table("executions") as batch:
        for name in ("watched_until", "claimed_from", "lease_clock", "lease_ends"):
            batch.drop_column(name)
        batch.add_column(sa.Column("lease_until", sa.DateTime(timezone=True)))


def _of_execution(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["execution_id"], ["executions.id"], name=op.f(f"fk_{name}_execution_id_executions"), ondelete="CASCADE"
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("execution_id", sa.String(length=128), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("message", DOCUMENT, nullable=False),
        _of_execution("deliveries"),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_due"), "deliveries", ["due"])


def _create_live_output() -> None:
    op.create_table(
        "live_output",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("execution_id", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=6), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _of_execution("live_output"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_output")),
    )
    op.create_index(op.f("ix_live_output_execution_id_id"), "live_output", ["execution_id", "id"])


def _create_reusable_results() -> None:
    op.create_table(
        "reusable_results",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("execution_id", sa.String(length=128), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        _of_execution("reusable_results"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_reusable_results")),
    )
    op.create_index(op.f("ix_reusable_results_execution_id"), "reusable_results", ["execution_id"])
