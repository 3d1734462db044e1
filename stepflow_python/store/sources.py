"""Recording what executions share: tools, their sources, environments."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from stepflow_python.model.environment import Environment
from stepflow_python.model.module import PythonModule
from stepflow_python.store import rows
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.rows import Tool
from stepflow_python.store.schema import READY, dependencies, environments, modules, tools
from stepflow_python.store.types import Moment
from stepflow_python.store.upsert import upsert

USE_NOTED_EACH = timedelta(minutes=1)
"""An environment that is used all the time is not written to each time."""

_module = select(modules.c.id).where(
    modules.c.tool_id == bindparam("of_tool"), modules.c.source_hash == bindparam("of_hash")
)
known_module = _module.scalar_subquery()
known_environment = select(environments.c.id).where(environments.c.id == bindparam("of_environment")).scalar_subquery()
_used = Prepared(
    update(environments)
    .where(
        environments.c.id == bindparam("of_id"),
        or_(environments.c.last_used < bindparam("long_ago", type_=Moment), environments.c.status != READY),
    )
    .values(last_used=bindparam("last_used"), status=READY)
)


def record_module(connection: Connection, module: PythonModule, tool: Tool, *, moment: datetime) -> int | None:
    """The row of a tool's source that was not known, made once for each source: it is the tool's next version."""
    if tool.id is None or not module.source_hash:
        return None
    version = _lock_tool(connection, tool, moment=moment)
    # Asked now that nobody else can add versions of this tool.
    wanted = {"of_tool": tool.id, "of_hash": module.source_hash}
    known = connection.execute(_module, wanted).scalar_one_or_none()
    if known is not None:
        return int(known)
    changes = {"version": version + 1, "source_hash": module.source_hash, "name": tool.name}
    connection.execute(update(tools).where(tools.c.id == tool.id).values(changes))
    row = rows.module_row(module, tool.id, version=version + 1, moment=moment)
    return int(connection.execute(insert(modules).returning(modules.c.id), row).scalar_one())


def _lock_tool(connection: Connection, tool: Tool, *, moment: datetime) -> int:
    """Hold the tool's row until the transaction ends; its highest version, 0 for a new tool."""
    row = {"id": tool.id, "name": tool.name, "version": 0, "source_hash": "", "created_at": moment}
    connection.execute(upsert(connection, tools, key=("id",), changed=("name",)), row)
    highest = select(func.max(modules.c.version)).where(modules.c.tool_id == tool.id)
    current = select(tools.c.version).where(tools.c.id == tool.id)
    versions = connection.execute(current).scalar_one(), connection.execute(highest).scalar_one()
    return max(int(version or 0) for version in versions)


def note_use(connection: Connection, environment_id: str, *, moment: datetime) -> None:
    """Note that an environment that is on record was used, to the minute."""
    _used(connection, {"of_id": environment_id, "last_used": moment, "long_ago": moment - USE_NOTED_EACH})


def record_environment(connection: Connection, environment: Environment, *, moment: datetime) -> None:
    """Note that an environment is there; of one that was before, only its use is new: its content never changes."""
    row = rows.environment_row(environment, moment=moment)
    connection.execute(upsert(connection, environments, key=("id",), changed=("last_used", "status")), row)
    packages = [
        {
            "environment_id": environment.id,
            "package_name": package.name,
            "version": package.version,
            "source": package.source,
            "installed_at": moment,
        }
        for package in environment.packages
    ]
    if packages:
        key = ("environment_id", "package_name")
        connection.execute(upsert(connection, dependencies, key=key, changed=("version", "source")), packages)


def retire_environment(connection: Connection, environment_id: str) -> None:
    """Note that an environment is no longer there; the record of its packages stays."""
    connection.execute(update(environments).where(environments.c.id == environment_id).values(status="removed"))
