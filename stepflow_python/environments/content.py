"""What names an environment: the hash of all that decides what is in it."""

import hashlib
import json
import re
from collections.abc import Sequence

from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.model.environment import EnvironmentId

_LAYOUT = 1
"""Counted up when the same key would give another folder than before."""
_ID = re.compile(r"cp3[0-9]{1,2}t?-[0-9a-f]{16}")
_DIGITS = 16


def key_text(
    interpreter: Interpreter, lock: Sequence[str], *, package_sources: Sequence[str], tools: Sequence[str]
) -> str:
    """The key, readable.

    Args:
        interpreter: what the environment is made from.
        lock: the exact requirements with hashes.
        package_sources: the registries, without credentials.
        tools: the programs that make it, with their versions.
    """
    return json.dumps(
        {
            "layout": _LAYOUT,
            "interpreter": interpreter.model_dump(mode="json"),
            "lock": sorted(lock),
            "package_sources": list(package_sources),
            "tools": list(tools),
        },
        sort_keys=True,
    )


def environment_id(tag: str, key: str) -> EnvironmentId:
    """The id of a key, such as `cp311-1f0c22d9a4b7e835`."""
    return EnvironmentId(f"{tag}-{hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]}")


def is_environment_id(text: str) -> bool:
    """Whether a text has the form of an id, and so is safe as the name of a folder."""
    return _ID.fullmatch(text) is not None
