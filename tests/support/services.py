"""Brokers and databases of this host that tests borrow a corner of, and leave as they found them.

A service that does not answer is a reason to skip. One that answers must be usable where `CI` is set: what is not
tested there is never tested.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from typing import NoReturn

import psycopg
import pytest
import redis
from psycopg import sql

POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
REDIS_PORT = 6379
RABBITMQ_PORT = 5672
OWNER_KEY = "stepflow-test-owner"
BORROWED_S = 900


def _absent(service: str, why: object) -> NoReturn:
    pytest.skip(f"{service} does not answer on 127.0.0.1: {why}")


def _unusable(service: str, why: object) -> NoReturn:
    message = f"{service} answers on 127.0.0.1 but cannot be used: {why}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _check_answers(service: str, port: int) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=3).close()
    except OSError as error:
        _absent(service, error)


@contextlib.contextmanager
def postgresql_database() -> Iterator[str]:
    """The URL of a database without tables."""
    _check_answers("PostgreSQL", 5432)
    try:
        server = psycopg.connect(f"{POSTGRESQL}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        _unusable("PostgreSQL", error)
    name = f"stepflow_test_{uuid.uuid4().hex[:12]}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{POSTGRESQL}/{name}"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def redis_database() -> Iterator[str]:
    """The URL of an empty numbered database, emptied again at the end."""
    _check_answers("Redis", REDIS_PORT)
    for number in range(15, 0, -1):
        with redis.Redis(port=REDIS_PORT, db=number) as server:
            try:
                # Borrowed where nobody has anything; what another test run borrows is never empty.
                mine = server.dbsize() == 0 and server.set(OWNER_KEY, "1", nx=True, ex=BORROWED_S)
            except redis.RedisError as error:
                _unusable("Redis", error)
            if mine:
                try:
                    yield f"redis://127.0.0.1:{REDIS_PORT}/{number}"
                finally:
                    server.flushdb()
                return
    _unusable("Redis", "none of its numbered databases is empty")


@contextlib.contextmanager
def rabbitmq_host() -> Iterator[str]:
    """The URL of a virtual host without queues, removed with all that is in it."""
    _check_answers("RabbitMQ", RABBITMQ_PORT)
    name = f"stepflow-test-{uuid.uuid4().hex[:12]}"
    control("add_vhost", name)
    try:
        control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"amqp://guest:guest@127.0.0.1:{RABBITMQ_PORT}/{name}"
    finally:
        control("delete_vhost", name)


def control(*words: str) -> str:
    """What `rabbitmqctl` says."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        _unusable("RabbitMQ", "there is no rabbitmqctl to make a virtual host with")
    done = subprocess.run([program, "--quiet", *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        _unusable("RabbitMQ", done.stderr.strip() or done.stdout.strip())
    return done.stdout
