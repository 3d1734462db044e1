"""The tables of the record."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only where the key's type is exactly INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# A column of the type JSON has numeric affinity in SQLite, which changes numbers.
DOCUMENT = sa.JSON().with_variant(sa.Text(), "sqlite")

TABLES = (
    "executions",
    "python_environments",
    "tools",
    "python_dependencies",
    "python_modules",
    "python_executions",
    "execution_files",
)


def upgrade() -> None:
    _create_executions()
    _create_python_environments()
    _create_tools()
    _create_python_dependencies()
    _create_python_modules()
    _create_python_executions()
    _create_execution_files()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("tool_id", sa.Text(), nullable=True),
        sa.Column("tool_name", sa.Text(), nullable=True),
        sa.Column("source_hash", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=True),
        sa.Column("step_id", sa.Text(), nullable=True),
        sa.Column("request", DOCUMENT, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("final_attempt", sa.Integer(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_executions"),
    )
    op.create_index("ix_executions_queued_at_id", "executions", ["queued_at", "id"], unique=False)
    op.create_index("ix_executions_status_queued_at_id", "executions", ["status", "queued_at", "id"], unique=False)
    op.create_index("ix_executions_tool_id_queued_at_id", "executions", ["tool_id", "queued_at", "id"], unique=False)
    op.create_index(
        "ix_executions_tool_name_queued_at_id", "executions", ["tool_name", "queued_at", "id"], unique=False
    )
    op.create_index(
        "ix_executions_workflow_id_queued_at_id", "executions", ["workflow_id", "queued_at", "id"], unique=False
    )


def _create_python_environments() -> None:
    op.create_table(
        "python_environments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("python_version", sa.Text(), nullable=False),
        sa.Column("virtual_env_path", sa.Text(), nullable=False),
        sa.Column("base_packages", DOCUMENT, nullable=False),
        sa.Column("installed_packages", DOCUMENT, nullable=False),
        sa.Column("lock", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_python_environments"),
    )


def _create_tools() -> None:
    op.create_table(
        "tools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tools"),
    )


def _create_python_dependencies() -> None:
    op.create_table(
        "python_dependencies",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=False),
        sa.Column("package_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["python_environments.id"],
            name="fk_python_dependencies_environment_id_python_environments",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_python_dependencies"),
        sa.UniqueConstraint(
            "environment_id", "package_name", name="uq_python_dependencies_environment_id_package_name"
        ),
    )


def _create_python_modules() -> None:
    op.create_table(
        "python_modules",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("tool_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source_hash", sa.String(length=64), nullable=False),
        sa.Column("module_name", sa.Text(), nullable=False),
        sa.Column("docstring", sa.Text(), nullable=True),
        sa.Column("requires_python", sa.Text(), nullable=True),
        sa.Column("source_code", sa.Text(), nullable=False),
        sa.Column("functions", DOCUMENT, nullable=False),
        sa.Column("classes", DOCUMENT, nullable=False),
        sa.Column("imports", DOCUMENT, nullable=False),
        sa.Column("dependencies", DOCUMENT, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name="fk_python_modules_tool_id_tools", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_python_modules"),
        sa.UniqueConstraint("tool_id", "source_hash", name="uq_python_modules_tool_id_source_hash"),
    )
    op.create_index("ix_python_modules_tool_id_version", "python_modules", ["tool_id", "version"], unique=False)


def _create_python_executions() -> None:
    op.create_table(
        "python_executions",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("execution_id", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=True),
        sa.Column("environment_key", sa.Text(), nullable=True),
        sa.Column("module_id", NUMBER, nullable=True),
        sa.Column("module_name", sa.Text(), nullable=True),
        sa.Column("function_name", sa.Text(), nullable=True),
        sa.Column("execution_time_ms", sa.Double(), nullable=False),
        sa.Column("cpu_time_ms", sa.Double(), nullable=True),
        sa.Column("memory_usage_kb", sa.BigInteger(), nullable=True),
        sa.Column("return_code", sa.BigInteger(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("isolation", sa.String(length=16), nullable=True),
        sa.Column("memory_enforcement", sa.String(length=16), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("truncated", DOCUMENT, nullable=False),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("exceptions", DOCUMENT, nullable=False),
        sa.Column("parameters", DOCUMENT, nullable=False),
        sa.Column("result", DOCUMENT, nullable=True),
        sa.Column("stdout", sa.Text(), nullable=False),
        sa.Column("stderr", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["python_environments.id"],
            name="fk_python_executions_environment_id_python_environments",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_python_executions_execution_id_executions", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["module_id"],
            ["python_modules.id"],
            name="fk_python_executions_module_id_python_modules",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_python_executions"),
        sa.UniqueConstraint("execution_id", "attempt", name="uq_python_executions_execution_id_attempt"),
    )
    op.create_index("ix_python_executions_environment_id", "python_executions", ["environment_id"], unique=False)
    op.create_index("ix_python_executions_module_id", "python_executions", ["module_id"], unique=False)


def _create_execution_files() -> None:
    op.create_table(
        "execution_files",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("attempt_id", NUMBER, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["python_executions.id"],
            name="fk_execution_files_attempt_id_python_executions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_execution_files"),
    )
    op.create_index("ix_execution_files_attempt_id", "execution_files", ["attempt_id"], unique=False)
