"""The tables. `migrations/` makes them; a test proves that both say the same."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from stepflow_python.store.types import AnyText, Json, Moment

HEAD = "0006"
"""The revision of this version's schema: known without loading the migrations, which costs more than a quick run."""

# Batch migrations on SQLite can only drop what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key's type is exactly INTEGER.
RowNumber = BigInteger().with_variant(Integer, "sqlite")

tools = Table(
    "tools",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("version", Integer, nullable=False),
    Column("source_hash", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
)

modules = Table(
    "python_modules",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("tool_id", ForeignKey("tools.id", ondelete="CASCADE"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("source_hash", String(64), nullable=False),
    Column("module_name", AnyText, nullable=False),
    Column("docstring", AnyText),
    Column("requires_python", AnyText),
    Column("source_code", AnyText, nullable=False),
    Column("functions", Json, nullable=False),
    Column("classes", Json, nullable=False),
    Column("imports", Json, nullable=False),
    Column("dependencies", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("tool_id", "source_hash"),
    Index(None, "tool_id", "version"),
)

executions = Table(
    "executions",
    metadata,
    Column("id", String(128), primary_key=True),
    # No foreign keys: a queued execution names a tool whose source is recorded only when a worker has read it.
    Column("tool_id", Text),
    Column("tool_name", AnyText),
    Column("source_hash", String(64)),
    Column("status", String(16), nullable=False),
    Column("workflow_id", AnyText),
    Column("step_id", AnyText),
    Column("request", Json, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("final_attempt", Integer),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("claimed_by", Text),
    Column("queued_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    # Seconds on the record's lease clock, see `store.clock`: a claim holds until then, somebody watches until then.
    Column("lease_ends", Double),
    Column("lease_clock", Text),
    Column("claimed_from", Text),
    Column("watched_until", Double),
    Index(None, "queued_at", "id"),
    Index(None, "status", "queued_at", "id"),
    Index(None, "tool_id", "queued_at", "id"),
    Index(None, "tool_name", "queued_at", "id"),
    Index(None, "workflow_id", "queued_at", "id"),
)

# For guards of one row that is named by its id: an empty text added to the status keeps PostgreSQL from looking for the
# row among all of that status, which it prefers while it has no statistics, and which gets slower with every job.
STATUS_OF_ROW = executions.c.status.concat("")

READY = "ready"
"""The status of an environment that is there."""

environments = Table(
    "python_environments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("python_version", Text, nullable=False),
    Column("virtual_env_path", AnyText, nullable=False),
    Column("base_packages", Json, nullable=False),
    Column("installed_packages", Json, nullable=False),
    Column("lock", AnyText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_used", Moment, nullable=False),
    Column("status", String(16), nullable=False),
)

attempts = Table(
    "python_executions",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("environment_id", ForeignKey("python_environments.id", ondelete="SET NULL"), index=True),
    # What the result names stays when the environment's own row goes.
    Column("environment_key", AnyText),
    Column("module_id", ForeignKey("python_modules.id", ondelete="SET NULL"), index=True),
    Column("module_name", AnyText),
    Column("function_name", AnyText),
    Column("execution_time_ms", Double, nullable=False),
    Column("cpu_time_ms", Double),
    Column("memory_usage_kb", BigInteger),
    Column("return_code", BigInteger),
    Column("signal", Integer),
    Column("isolation", String(16)),
    Column("memory_enforcement", String(16)),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("truncated", Json, nullable=False),
    Column("error", Json),
    Column("exceptions", Json, nullable=False),
    Column("parameters", Json, nullable=False),
    # The large ones come last: SQLite reads a row from its start and only as far as it must.
    Column("result", Json),
    Column("stdout", AnyText, nullable=False),
    Column("stderr", AnyText, nullable=False),
    # Added later, so behind them.
    Column("environment_times", Json),
    Column("limits_met", Json),
    Column("reused_from", Text),
    Column("warm", Boolean),
    Column("dispatch_time_ms", Double),
    UniqueConstraint("execution_id", "attempt"),
)

files = Table(
    "execution_files",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("attempt_id", ForeignKey("python_executions.id", ondelete="CASCADE"), nullable=False, index=True),
    # Not in a key: paths may be longer than PostgreSQL's index entries.
    Column("name", AnyText, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

dependencies = Table(
    "python_dependencies",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("environment_id", ForeignKey("python_environments.id", ondelete="CASCADE"), nullable=False),
    Column("package_name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("installed_at", Moment, nullable=False),
    UniqueConstraint("environment_id", "package_name"),
)

extension_calls = Table(
    "extension_calls",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("extension", AnyText, nullable=False),
    Column("function", AnyText, nullable=False),
    Column("called_at", Moment, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("arguments", Json, nullable=False),
)

# What was sent for an execution that has not ended: sent again when it seems to be lost. `due` is on the lease clock.
deliveries = Table(
    "deliveries",
    metadata,
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("queue", Text, nullable=False),
    Column("sends", Integer, nullable=False),
    Column("due", Double, nullable=False, index=True),
    Column("clock", Text, nullable=False),
    Column("message", Json, nullable=False),
)

# What a run that somebody watches has printed so far, in pieces; gone when it has ended.
live_output = Table(
    "live_output",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stream", String(6), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index(None, "execution_id", "id"),
)

# By what a pure tool's result depends on: the execution that has it.
reusable_results = Table(
    "reusable_results",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("execution_id", ForeignKey("executions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("recorded_at", Moment, nullable=False),
)
