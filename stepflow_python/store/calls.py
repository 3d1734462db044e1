"""Calls of extensions on record."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select

from stepflow_python.model.extension import ExtensionCall
from stepflow_python.model.history import MAX_CALLS
from stepflow_python.store.schema import extension_calls

_COLUMNS = tuple(extension_calls.c[name] for name in ExtensionCall.model_fields)


def record_calls(connection: Connection, execution_id: str, calls: Sequence[ExtensionCall]) -> None:
    """Add calls to an execution's."""
    rows = [{"execution_id": execution_id, **call.model_dump()} for call in calls]
    connection.execute(insert(extension_calls), rows)


def read_calls(connection: Connection, execution_id: str) -> tuple[tuple[ExtensionCall, ...], int]:
    """The first `MAX_CALLS` calls of an execution, and how many there are."""
    of_it = extension_calls.c.execution_id == execution_id
    first = select(*_COLUMNS).where(of_it).order_by(extension_calls.c.id).limit(MAX_CALLS)
    found = tuple(ExtensionCall.model_validate(dict(row)) for row in connection.execute(first).mappings())
    if len(found) < MAX_CALLS:
        return found, len(found)
    return found, connection.execute(select(func.count()).select_from(extension_calls).where(of_it)).scalar_one()
