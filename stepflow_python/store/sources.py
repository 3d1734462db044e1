"""Recording what executions share: tools, their sources, environments."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, update

from stepflow_python.model.environment import Environment
from stepflow_python.model.module import PythonModule
from stepflow_python.store import rows
from stepflow_python.store.prepared import Prepared
from stepflow_python.store.rows import Tool
from stepflow_python.store.schema import dependencies, environments, modules, tools
from stepflow_python.store.upsert import upsert

_known_module = Prepared(
    select(modules.c.id).where(modules.c.tool_id == bindparam("of_tool"), modules.c.source_hash == bindparam("of_hash"))
)


_used = Prepared(
    update(environments)
    .where(environments.c.id == bindparam("of_id"))
    .values(last_used=bindparam("last_used"), status="ready")
)


def record_module(connection: Connection, module: PythonModule, tool: Tool, *, moment: datetime) -> int | None:
    """The row of a tool's source, made once for each source: each new one is the tool's next version."""
    if tool.id is None or not module.source_hash:
        return None
    wanted = {"of_tool": tool.id, "of_hash": module.source_hash}
    known = _known_module(connection, wanted).value
    if known is not None:
        return int(known)
    version = _lock_tool(connection, tool, moment=moment)
    # Asked again now that nobody else can add versions of this tool.
    known = _known_module(connection, wanted).value
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


def record_environment(connection: Connection, environment: Environment, *, moment: datetime) -> None:
    """Note that an environment was used; what is in it never changes, so it is written once."""
    if _used(connection, {"of_id": environment.id, "last_used": moment}).changed:
        return
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
