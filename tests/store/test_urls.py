"""Which databases can be named, and how."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.errors import DatabaseError
from stepflow_python.store.urls import place_of


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("sqlite+aiosqlite:////data/a.db", "sqlite:////data/a.db"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_each_database_gets_our_drivers(url: str, ours: str) -> None:
    """Whatever driver is named, ours is taken."""
    assert str(place_of(url).url) == ours


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "sqlite:///file:a?mode=ro&uri=true", "", "nonsense"]
)
def test_what_cannot_be_used_is_refused(url: str) -> None:
    """Other databases, and those that only one connection sees, are refused with the forms that work."""
    with pytest.raises(DatabaseError, match=r"use sqlite:////folder/stepflow\.db or postgresql://"):
        place_of(url)


def test_a_place_names_itself_without_its_password() -> None:
    """A file is named by its path, a server by its URL, its password hidden."""
    assert str(place_of("sqlite:////data/a.db")) == "/data/a.db"
    assert place_of("sqlite:////data/a.db").file == Path("/data/a.db")
    server = place_of("postgresql://user:hunter2@host/record")
    assert str(server) == "postgresql+psycopg://user:***@host/record"
    assert server.file is None


@given(st.text())
def test_any_text_gives_a_place_or_an_error_in_words(url: str) -> None:
    """No text makes the parser of URLs raise anything else."""
    try:
        place_of(url)
    except DatabaseError as error:
        assert error.message.startswith("DATABASE_URL")
