"""Real environments from real wheels: some from the registry, some made here on the spot."""

import asyncio
import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uv

from stepflow_python.environments.cache import EnvironmentCache
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of this machine, with one cache of downloads for all tests."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    return kept | {"UV_CACHE_DIR": str(tmp_path_factory.mktemp("downloads"))}


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory, variables: Mapping[str, str]) -> Path:
    """What this machine's interpreters are, found out once: every cache and every installer would ask them again."""
    folder = tmp_path_factory.mktemp("known")
    environment = asyncio.run(EnvironmentCache(folder, environ=variables).ensure(EnvironmentSpec()))
    asking = [uv.find_uv_bin(), "pip", "freeze", "--python", environment.interpreter.resolve()]
    subprocess.run(asking, env=variables, check=True, capture_output=True)
    return folder / ".cache"


@pytest.fixture
def place(tmp_path: Path, known: Path) -> Path:
    """A folder of environments with nothing in it but what is known of the interpreters."""
    scratch = tmp_path / "environments" / ".cache"
    scratch.mkdir(parents=True)
    shutil.copy(known / "interpreters.json", scratch)
    shutil.copytree(known / "virtualenv", scratch / "virtualenv")
    return scratch.parent


@pytest.fixture
def cache(place: Path, variables: Mapping[str, str]) -> EnvironmentCache:
    """An empty cache that knows the public registry."""
    return EnvironmentCache(place, environ=variables)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of wheels that serves as the only registry of `local_variables`."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def local_variables(variables: Mapping[str, str], shelf: Path, place: Path) -> dict[str, str]:
    """Variables under which nothing is fetched from anywhere but the shelf."""
    empty, downloads = place.with_name("empty-registry"), place.with_name("downloads")
    empty.mkdir()
    for known in Path(variables["UV_CACHE_DIR"]).glob("interpreter-*"):
        shutil.copytree(known, downloads / known.name)
    places = {"UV_FIND_LINKS": str(shelf), "UV_DEFAULT_INDEX": empty.as_uri()}
    return {**variables, **places, "UV_CACHE_DIR": str(downloads)}


@pytest.fixture
def local_cache(place: Path, local_variables: Mapping[str, str]) -> EnvironmentCache:
    """An empty cache that knows the shelf only."""
    return EnvironmentCache(place, environ=local_variables)


@pytest.fixture
def make_wheel(shelf: Path) -> MakeWheel:
    """Puts a wheel on the shelf: `make_wheel(name, version, files={path: text}, requires=[...])`."""

    def make(
        name: str, version: str = "1.0", *, files: Mapping[str, str] | None = None, requires: tuple[str, ...] = ()
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        content = dict(files if files is not None else {f"{name}.py": f"VERSION = {version!r}\n"})
        content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        rows = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in content.items()]
        content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
        path = shelf / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in content.items():
                archive.writestr(member, text)
        return path

    return make


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
