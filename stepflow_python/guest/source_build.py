"""A tool of our own that runs in a box as any other: makes a wheel of a source archive, whose code runs meanwhile.

The archive lies in the work folder; `inspect` says what its build needs, `build` makes the wheel in an environment that
has it (PEP 517). Nothing here is imported by the rest of the guest.
"""

from __future__ import annotations

import importlib
import os
import sys
import tarfile
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

ARCHIVE = "source.archive"
FOLDER = "source"
LEGACY = {
    "requires": ["setuptools>=40.8.0", "wheel"],
    "backend": "setuptools.build_meta:__legacy__",
    "backend_path": [],
}
"""What PEP 517 and 518 have a project be built with that says nothing."""


def inspect(subdirectory: str) -> Dict[str, Any]:
    """What a project says of its build: `requires`, `backend`, `backend_path`."""
    import tomllib  # the box of this step has a Python of at least 3.11

    path = os.path.join(_unpacked(subdirectory), "pyproject.toml")
    if not os.path.exists(path):
        return LEGACY
    with open(path, "rb") as file:
        table = tomllib.load(file).get("build-system")
    if table is None:
        return LEGACY
    return {
        "requires": [str(line) for line in table["requires"]],
        "backend": str(table.get("build-backend", LEGACY["backend"])),
        "backend_path": [str(folder) for folder in table.get("backend-path", ())],
    }


def build(subdirectory: str, backend: str, backend_path: List[str]) -> Dict[str, Any]:
    """The name of the `wheel` in the output folder; or what is `missing` to make it."""
    root = _unpacked(subdirectory)
    os.chdir(root)
    sys.path[:0] = [os.path.join(root, folder) for folder in backend_path]
    sys.argv[:] = ["setup.py"]
    module, _, attributes = backend.partition(":")
    hooks: Any = importlib.import_module(module)
    for name in filter(None, attributes.split(".")):
        hooks = getattr(hooks, name)
    asked: Any = getattr(hooks, "get_requires_for_build_wheel", list)
    missing = [str(line) for line in asked() if not _installed(str(line))]
    if missing:
        return {"missing": missing}
    return {"wheel": hooks.build_wheel(os.environ["STEPFLOW_OUTPUT_DIR"])}


def _unpacked(subdirectory: str) -> str:
    """The project's folder: the archive's only one at its top, or the archive itself."""
    folder = os.path.abspath(FOLDER)
    if zipfile.is_zipfile(ARCHIVE):
        with zipfile.ZipFile(ARCHIVE) as zipped:
            zipped.extractall(folder)  # noqa: S202 - whatever it writes, it writes into this box
    else:
        with tarfile.open(ARCHIVE) as tarred:
            if hasattr(tarfile, "data_filter"):
                tarred.extractall(folder, filter="data")
            else:
                tarred.extractall(folder)  # noqa: S202 - as above
    found = os.listdir(folder)
    if len(found) == 1 and os.path.isdir(os.path.join(folder, found[0])):
        folder = os.path.join(folder, found[0])
    folder = os.path.join(folder, subdirectory)
    if not any(os.path.exists(os.path.join(folder, name)) for name in ("pyproject.toml", "setup.py")):
        raise SystemExit(f"neither pyproject.toml nor setup.py in {subdirectory or 'the archive'}")
    return folder


def _installed(requirement: str) -> bool:
    """Whether a distribution of that name is here; its version was seen to by whoever made this environment."""
    import importlib.metadata
    import re

    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    try:
        return name is not None and bool(importlib.metadata.version(name[0]))
    except importlib.metadata.PackageNotFoundError:
        return False
