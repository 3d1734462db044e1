"""Recorded executions as requests."""

import pytest

from stepflow_python.errors import ExecutionError
from stepflow_python.jobs.replay import replay_request
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.ports import Recipe

LOCK = ("six==1.17.0 --hash=sha256:" + "0" * 64,)
RECORDED = ExecutionRequest(
    execution_id="first", code="", function_name="f", parameters={"n": 1}, dependencies=("six",), environment_id="x"
)
RECIPE = Recipe(
    request=RECORDED,
    source="def f(n): ...",
    lock=LOCK,
    python_version="3.11.7",
    file_names=("a.csv",),
    variables=("KEY",),
)


def again(
    recipe: Recipe | None, *, files: tuple[str, ...] = ("a.csv",), env: tuple[str, ...] = ("KEY",)
) -> ExecutionRequest:
    """The replay of a recipe with these names given."""
    return replay_request(
        recipe, replayed="first", execution_id="second", files=dict.fromkeys(files, b"1"), env=dict.fromkeys(env, "v")
    )


def test_it_is_the_same_but_for_its_id() -> None:
    """Source, arguments, lock and version are the recorded ones; what is not recorded was given again."""
    request = again(RECIPE)
    assert (request.execution_id, request.code, request.parameters) == ("second", "def f(n): ...", {"n": 1})
    assert (request.lock, request.python_version, request.environment_id) == (LOCK, "3.11.7", None)
    assert (request.files, request.env) == ({"a.csv": b"1"}, {"KEY": "v"})


@pytest.mark.parametrize(
    ("recipe", "files", "env", "words"),
    [
        (None, (), (), "no execution 'first' is on record"),
        (Recipe(request=RECORDED), (), (), "before it had an environment"),
        (RECIPE, (), ("KEY",), "no content of file a.csv; give it again with --file"),
        (RECIPE, ("a.csv",), (), "no content of variable KEY; give it again with --env"),
        (RECIPE, ("a.csv", "b.csv"), ("KEY",), "had no file b.csv"),
    ],
)
def test_what_is_missing_is_named(
    recipe: Recipe | None, files: tuple[str, ...], env: tuple[str, ...], words: str
) -> None:
    """An execution that cannot be run again the same way is refused, with what would make it so."""
    with pytest.raises(ExecutionError, match=words):
        again(recipe, files=files, env=env)
