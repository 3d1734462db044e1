"""What is logged: for people and for programs, about which execution, and without secrets."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from support.records import request

from stepflow_python.config import Settings
from stepflow_python.jobs.job import Job
from stepflow_python.jobs.middleware import logged
from stepflow_python.logs import Format, about, set_up
from stepflow_python.model.result import ExecutionResult, Status
from stepflow_python.model.values import now

log = logging.getLogger("stepflow_python.tests")
SECRET = "correct horse"  # noqa: S105 - a made-up one


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, left as it was."""
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    try:
        yield logger
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)


def lines(form: Format, *, secrets: frozenset[str] = frozenset()) -> io.StringIO:
    """Where it is logged from now on."""
    logging.getLogger().handlers.clear()  # as a command finds it
    stream = io.StringIO()
    set_up("INFO", form, secrets=secrets, stream=stream)
    return stream


def fail(message: str) -> None:
    """Log an exception."""
    try:
        int(message)
    except ValueError as error:
        error.args = (message,)
        log.exception("it failed")


@pytest.mark.usefixtures("root")
def test_a_line_for_programs() -> None:
    """One object: when, how bad, who, what, about which execution; and an exception in the same line."""
    stream = lines("json")
    with about({"execution_id": "one", "attempt": 2, "tool": None}):
        log.info("it %s", "started")
        fail("no\nsecond line")
    log.info("Task done", extra={"data": {"id": "task-1", "args": SECRET}})
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "logger": "stepflow_python.tests",
        "message": "it started",
        "execution_id": "one",
        "attempt": 2,
    }
    assert "ValueError: no\nsecond line" in second["exception"]
    assert (third["task_id"], "execution_id" in third) == ("task-1", False)
    assert SECRET not in stream.getvalue()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_logged(form: Format) -> None:
    """Passwords of addresses, of the settings and of others, and values of an execution's variables."""
    settings = Settings(database_url="postgresql://me:p%40ssword@db/x", broker_url="amqp://me:rabbit-word@mq//")
    stream = lines(form, secrets=settings.passwords)
    with about({"execution_id": "one"}, secrets=[SECRET, "1"]):
        log.info("cannot reach amqp://me:rabbit-word@mq or redis://:other@r and %s with 1", SECRET)
        log.info("refused p@ssword, p%%40ssword")
        fail(SECRET)
    text = stream.getvalue()
    for secret in (SECRET, "rabbit-word", "other@", "p@ssword", "p%40ssword"):
        assert secret not in text
    assert "amqp://me:***@mq" in text
    assert "with 1" in text
    log.info("of another: %s", SECRET)
    assert SECRET in stream.getvalue()


@pytest.mark.usefixtures("root")
def test_lines_of_a_job() -> None:
    """Its start and its end, with its id, even of two at a time."""
    stream = lines("json")

    async def run(job: Job) -> ExecutionResult:
        await asyncio.sleep(0)
        log.info("in the middle, %s", job.request.env["KEY"])
        return ExecutionResult(execution_id=job.request.execution_id, status=Status.SUCCEEDED)

    async def both() -> None:
        requests = (request(name, env={"KEY": f"{SECRET} {name}"}, workflow_id="w") for name in ("a", "b"))
        await asyncio.gather(*(logged(run)(Job(request=one, attempt=1, started_at=now())) for one in requests))

    asyncio.run(both())
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sorted(line["execution_id"] for line in said) == ["a"] * 3 + ["b"] * 3
    assert {line["workflow_id"] for line in said} == {"w"}
    assert SECRET not in stream.getvalue()


@pytest.mark.usefixtures("root")
def test_libraries_that_log_messages_whole_are_quiet() -> None:
    """They would log payloads, with the values of variables in them."""
    levels = {name: logging.getLogger(name).level for name in ("celery.pool", "amqp", "kombu")}
    try:
        set_up("DEBUG", "text", stream=io.StringIO())
        assert not any(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in levels)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
