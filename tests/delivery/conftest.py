"""The pairs of broker and record that the product promises, each with a home and two producers' ways in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import Stepflow
from support.product import marked
from support.services import postgresql_database, rabbitmq_host, redis_database

PAIRS = ("embedded+sqlite", "redis+sqlite", "redis+postgresql", "rabbitmq+postgresql")
BROKERS = {"redis": redis_database, "rabbitmq": rabbitmq_host}


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of environments that all homes share: they are built once."""
    return tmp_path_factory.mktemp("environments")


@contextlib.contextmanager
def pair_of(name: str, home: Path, environments: Path) -> Iterator[Stepflow]:
    """The `stepflow` command on a broker and a record of its own."""
    broker, record = name.split("+")
    with contextlib.ExitStack() as stack:
        settings = {"VIRTUAL_ENV_PATH": str(environments), "LEASE": "2"}
        if broker in BROKERS:
            settings["BROKER_URL"] = stack.enter_context(BROKERS[broker]())
        if record == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(postgresql_database())
        yield Stepflow(home=home, settings=settings)


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path, environments: Path) -> Iterator[Stepflow]:
    """Each promised pair in turn."""
    with pair_of(request.param, tmp_path / "home", environments) as made:
        yield made


@pytest.fixture
def mark() -> Iterator[str]:
    """An argument that no other process of this host has; what it marks is gone at the end."""
    with marked() as seconds:
        yield seconds
