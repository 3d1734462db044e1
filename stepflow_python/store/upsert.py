"""Insert or change, in one statement; both databases spell it alike, SQLAlchemy keeps it in their dialects."""

import functools

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from stepflow_python.store.urls import SQLITE


def upsert(connection: Connection, table: Table, *, key: tuple[str, ...], changed: tuple[str, ...] = ()) -> Insert:
    """`INSERT ... ON CONFLICT (key) DO UPDATE` of the columns `changed`; of none: `DO NOTHING`."""
    return upsert_in(connection.dialect.name, table, key, changed)


# Building a statement costs more than running it.
@functools.cache
def upsert_in(dialect: str, table: Table, key: tuple[str, ...], changed: tuple[str, ...] = ()) -> Insert:
    """As `upsert`, for a database of this name."""
    if dialect == SQLITE:
        lite = sqlite.insert(table)
        if not changed:
            return lite.on_conflict_do_nothing(index_elements=key)
        return lite.on_conflict_do_update(index_elements=key, set_={name: lite.excluded[name] for name in changed})
    post = postgresql.insert(table)
    if not changed:
        return post.on_conflict_do_nothing(index_elements=key)
    return post.on_conflict_do_update(index_elements=key, set_={name: post.excluded[name] for name in changed})
