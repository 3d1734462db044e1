"""From what is recorded of an execution to a request that runs it again."""

from collections.abc import Mapping

from stepflow_python.errors import ExecutionError
from stepflow_python.model.request import ExecutionRequest
from stepflow_python.ports import Recipe


def replay_request(
    recipe: Recipe | None, *, replayed: str, execution_id: str, files: Mapping[str, bytes], env: Mapping[str, str]
) -> ExecutionRequest:
    """The same source, arguments and limits, in an environment of exactly the recorded lock, under a new id.

    Args:
        recipe: what the record has.
        replayed: the id of the recorded execution, for messages.
        execution_id: the new one's.
        files: those of the first run; the record has their names only.
        env: the variables of the first run, likewise.

    Raises:
        ExecutionError: no such execution, or it ended before it had an environment, or a file or variable is missing.
    """
    if recipe is None:
        raise ExecutionError(f"no execution {replayed!r} is on record; `stepflow history` lists them")
    if recipe.source is None or recipe.lock is None:
        raise ExecutionError(f"execution {replayed!r} ended before it had an environment; submit it anew")
    _check_names("file", recipe.file_names, files, remedy="--file NAME=PATH")
    _check_names("variable", recipe.variables, env, remedy="--env K=V")
    return recipe.request.model_copy(
        update={
            "execution_id": execution_id,
            "code": recipe.source,
            "script_path": None,
            "environment_id": None,
            "lock": recipe.lock,
            "python_version": recipe.python_version,
            "files": dict(files),
            "env": dict(env),
        }
    )


def _check_names(what: str, recorded: tuple[str, ...], given: Mapping[str, object], *, remedy: str) -> None:
    missing = [name for name in recorded if name not in given]
    unknown = [name for name in given if name not in recorded]
    if missing:
        raise ExecutionError(f"the record has no content of {what} {', '.join(missing)}; give it again with {remedy}")
    if unknown:
        raise ExecutionError(f"the recorded request had no {what} {', '.join(unknown)}; leave it out")
