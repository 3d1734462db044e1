"""What has no wheel is built in the sandbox, where the operator allows it."""

import asyncio
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.environments.service import VirtualEnvironments
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.model.environment import Environment
from stepflow_python.model.module import Dependency, DependencySource
from stepflow_python.model.security import IsolationTier
from stepflow_python.ports import EnvironmentSpec
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox

MakeWheel = Callable[..., Path]
MakeCache = Callable[..., EnvironmentCache]

PROJECT = '[build-system]\nrequires = [{requires}]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    print("making {name}")
    {first}
    name, info = "{name}-{version}-py3-none-any.whl", "{name}-{version}.dist-info/"
    files = {{
        "{name}.py": "VERSION = '{version}'\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{needs}",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "RECORD": "",
    }}
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return name
"""


def project(
    folder: Path, name: str, version: str = "1.0", *, needs: str = "", requires: str = "", first: str = "pass"
) -> Path:
    """A project that builds itself; `first` is a statement of its build."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(requires=requires))
    text = BACKEND.format(name=name, version=version, needs=f"Requires-Dist: {needs}\\n" if needs else "", first=first)
    (folder / "backend.py").write_text(text)
    return folder


def archive(folder: Path, path: Path) -> Path:
    """A source archive of a project."""
    with tarfile.open(path, "w:gz") as tarred:
        tarred.add(folder, arcname=folder.name)
    return path


def commit(folder: Path) -> str:
    """Put a project as it is now into its repository; the commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[HostSandbox]:
    """The sandbox of this host."""
    config = SandboxConfig(
        folder=tmp_path / "sandbox",
        environments=tmp_path / "environments",
        min_isolation=IsolationTier.PROCESS,
        enabled=True,
        uid=65534,
        cgroup="",
        search_path=os.environ.get("PATH"),
    )
    made = HostSandbox(config)
    yield made
    asyncio.run(made.close())


@pytest.fixture
def make_cache(tmp_path: Path, local_variables: Mapping[str, str], sandbox: HostSandbox) -> MakeCache:
    """Makes a cache over the same folder, of an operator who allows builds and addresses, or not."""

    def make(
        *, builds: bool = True, addresses: bool = True, variables: Mapping[str, str] = local_variables
    ) -> EnvironmentCache:
        options = CacheOptions(addresses=addresses, source_builds=builds)
        return EnvironmentCache(tmp_path / "environments", environ=variables, options=options, sandbox=sandbox)

    return make


def ensure(cache: EnvironmentCache, *requirements: str, refresh: bool = False) -> Environment:
    """The environment of some requirements."""
    return asyncio.run(_settled(cache, EnvironmentSpec(requirements=requirements), refresh=refresh))


def replayed(cache: EnvironmentCache, lock: str) -> Environment:
    """The environment of a lock that was recorded."""
    return asyncio.run(_settled(cache, EnvironmentSpec(lock=tuple(lock.splitlines())), refresh=False))


async def _settled(cache: EnvironmentCache, spec: EnvironmentSpec, *, refresh: bool) -> Environment:
    environment = await cache.ensure(spec, refresh=refresh)
    await cache.settle()
    return environment


def version_of(environment: Environment, module: str) -> str:
    """What an installed module says."""
    command = [environment.interpreter, "-I", "-c", f"import {module}; print({module}.VERSION)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_registry_that_has_the_source_only(
    tmp_path: Path, shelf: Path, make_cache: MakeCache, make_wheel: MakeWheel
) -> None:
    """Built where it is allowed, with what it requires; else refused with the name of the setting."""
    make_wheel("plum")
    archive(project(tmp_path / "apple-1.5", "apple", "1.5", needs="plum"), shelf / "apple-1.5.tar.gz")
    archive(project(tmp_path / "apple-2.0", "apple", "2.0"), shelf / "apple-2.0.tar.gz")
    with pytest.raises(DependencyError, match="ALLOW_SOURCE_BUILDS"):
        ensure(make_cache(builds=False), "apple<2")
    environment = ensure(make_cache(), "apple<2")
    assert version_of(environment, "apple") == "1.5"
    packages = [(package.name, package.version, package.source) for package in environment.packages]
    assert packages == [("apple", "1.5", DependencySource.PYPI), ("plum", "1.0", DependencySource.PYPI)]
    assert ensure(make_cache(addresses=False), "apple<2") == environment


def test_what_a_wheel_requires_may_have_to_be_built(
    tmp_path: Path, shelf: Path, make_cache: MakeCache, make_wheel: MakeWheel
) -> None:
    """Nobody named it, and it is built all the same."""
    make_wheel("plum", requires=("apple",))
    archive(project(tmp_path / "apple-1.0", "apple"), shelf / "apple-1.0.tar.gz")
    environment = ensure(make_cache(), "plum")
    assert [package.name for package in environment.packages] == ["apple", "plum"]


def test_a_built_wheel_is_kept_and_made_again_to_the_byte(tmp_path: Path, shelf: Path, make_cache: MakeCache) -> None:
    """A recorded lock gives the same environment, with the wheel that was kept, and with one built anew from it."""
    path = archive(project(tmp_path / "apple-1.0", "apple"), shelf / "apple-1.0.tar.gz")
    environment = ensure(make_cache(), "apple")
    moved = path.rename(tmp_path / "apple-1.0.tar.gz")
    asyncio.run(make_cache().remove(environment.id))
    assert replayed(make_cache(), environment.lock) == environment
    asyncio.run(make_cache().remove(environment.id))
    shutil.rmtree(tmp_path / "environments" / ".cache" / "wheels")
    with pytest.raises(DependencyError, match="apple"):
        replayed(make_cache(), environment.lock)
    moved.rename(path)
    assert replayed(make_cache(), environment.lock) == environment
    assert version_of(environment, "apple") == "1.0"
    with pytest.raises(DependencyError, match="ALLOW_SOURCE_BUILDS"):
        replayed(make_cache(builds=False), environment.lock)


def test_a_source_that_builds_into_something_else(tmp_path: Path, shelf: Path, make_cache: MakeCache) -> None:
    """A replay is refused where neither the wheel is there nor the source gives it again."""
    first = "import uuid"
    folder = project(tmp_path / "apple-1.0", "apple", first=first)
    text = (folder / "backend.py").read_text().replace('"VERSION = ', '"#" + str(uuid.uuid4()) + "\\nVERSION = ')
    (folder / "backend.py").write_text(text)
    archive(folder, shelf / "apple-1.0.tar.gz")
    environment = ensure(make_cache(), "apple")
    asyncio.run(make_cache().remove(environment.id))
    shutil.rmtree(tmp_path / "environments" / ".cache" / "wheels")
    with pytest.raises(DependencyError, match="builds into another wheel"):
        replayed(make_cache(), environment.lock)


def test_a_repository(tmp_path: Path, make_cache: MakeCache) -> None:
    """A branch is locked as its commit: it stays what it was until it is resolved anew, and a replay has it still."""
    folder = project(tmp_path / "work", "apple", "1.0")
    first = commit(folder)
    line = f"apple @ git+{folder.as_uri()}@main"
    with pytest.raises(DependencyError, match="ALLOW_SOURCE_BUILDS"):
        ensure(make_cache(builds=False), line)
    with pytest.raises(DependencyError, match="ALLOW_ADDRESSES"):
        ensure(make_cache(addresses=False), line)
    environment = ensure(make_cache(), line)
    assert (version_of(environment, "apple"), environment.packages[0].source) == ("1.0", DependencySource.GIT)
    assert f"@{first}" in environment.lock
    project(folder, "apple", "2.0")
    commit(folder)
    assert ensure(make_cache(), line) == environment
    assert version_of(ensure(make_cache(), line, refresh=True), "apple") == "2.0"
    asyncio.run(make_cache().remove(environment.id))
    shutil.rmtree(tmp_path / "environments" / ".cache" / "wheels")
    assert replayed(make_cache(), environment.lock) == environment
    by_commit = ensure(make_cache(), f"apple @ git+{folder.as_uri()}@{first[:10]}")
    assert version_of(by_commit, "apple") == "1.0"


def test_an_archive_by_its_address(tmp_path: Path, make_cache: MakeCache) -> None:
    """Of a folder inside it, if that is said; a marker that does not hold fetches nothing."""
    folder = tmp_path / "pack"
    project(folder / "inner" / "apple", "apple")
    path = archive(folder, tmp_path / "pack.tar.gz")
    line = f"apple @ {path.as_uri()}#subdirectory=inner/apple"
    environment = ensure(make_cache(), line, f"pear @ {path.as_uri()}x.zip ; python_version < '3'")
    assert [(package.name, package.source) for package in environment.packages] == [("apple", DependencySource.LOCAL)]
    path.write_bytes(b"something else")
    shutil.rmtree(tmp_path / "environments" / ".cache" / "wheels")
    asyncio.run(make_cache().remove(environment.id))
    with pytest.raises(DependencyError, match="it was changed"):
        replayed(make_cache(), environment.lock)


def test_more_is_installed_beside_what_was_built(tmp_path: Path, make_cache: MakeCache, make_wheel: MakeWheel) -> None:
    """An extended environment has the same commit, and a dependency from git needs its address."""
    make_wheel("plum")
    folder = project(tmp_path / "work", "apple", "1.0")
    commit(folder)
    cache = make_cache()
    environment = ensure(cache, f"apple @ git+{folder.as_uri()}")
    project(folder, "apple", "2.0")
    commit(folder)
    service = VirtualEnvironments(cache)

    async def extend(dependency: Dependency) -> Environment:
        return await cache.get(await service.install_dependencies(environment.id, [dependency]))

    extended = asyncio.run(extend(Dependency(name="plum")))
    assert [(package.name, package.version) for package in extended.packages] == [("apple", "1.0"), ("plum", "1.0")]
    with pytest.raises(DependencyError, match="need their address"):
        asyncio.run(extend(Dependency(name="plum", source=DependencySource.GIT)))


@pytest.mark.parametrize(
    ("first", "requires", "message"),
    [
        ("raise RuntimeError('the compiler is missing')", "", "the compiler is missing"),
        ("print('half way'); os._exit(3)", "", "half way"),
        ("return 'pear-1.0-py3-none-any.whl'", "", "left no 'pear-1.0-py3-none-any.whl'"),
        ("return '../../apple-1.0-py3-none-any.whl'", "", "no name of a wheel"),
        ("return 7", "", "answered what no build answers"),
        ("pass", '"plum"', "it needs plum for that, which has no wheel itself"),
        ("pass", '"plum @ file:///etc/plum-1.0-py3-none-any.whl"', "names an address"),
    ],
)
def test_a_build_that_fails(
    tmp_path: Path, shelf: Path, make_cache: MakeCache, first: str, requires: str, message: str
) -> None:
    """It is an error with the build's own words, and leaves nothing installed."""
    archive(project(tmp_path / "plum-1.0", "plum"), shelf / "plum-1.0.tar.gz")
    archive(project(tmp_path / "apple-1.0", "apple", first=first, requires=requires), shelf / "apple-1.0.tar.gz")
    with pytest.raises(DependencyError, match=message):
        ensure(make_cache(), "apple")
    assert not any("apple" in environment.lock for environment in asyncio.run(make_cache().list()))


def test_addresses_that_lead_nowhere(tmp_path: Path, make_cache: MakeCache) -> None:
    """Each says what is wrong with it."""
    folder = project(tmp_path / "work", "apple")
    commit(folder)
    nowhere = (tmp_path / "nowhere").as_uri()
    for address, message in (
        (f"{nowhere}.tar.gz", "No such file"),
        (f"git+{nowhere}", "nowhere"),
        (f"git+{folder.as_uri()}@gone", "no branch, tag or commit 'gone'"),
        (f"{archive(folder, tmp_path / 'a.tar.gz').as_uri()}#subdirectory=x", "neither pyproject.toml nor setup.py"),
    ):
        with pytest.raises(DependencyError, match=message):
            ensure(make_cache(), f"apple @ {address}")
    with pytest.raises(DependencyError, match="is the source of apple"):
        ensure(make_cache(), f"pear @ git+{folder.as_uri()}")
    for away in ("http://127.0.0.1:9/apple-1.0.tar.gz", "git+http://127.0.0.1:9/apple"):
        with pytest.raises(EnvironmentUnavailableError):
            ensure(make_cache(), f"apple @ {away}")


def test_setuptools_and_a_compiler(tmp_path: Path, make_cache: MakeCache, variables: Mapping[str, str]) -> None:
    """A project in C without any pyproject.toml, built by the registry's setuptools and this machine's compiler."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler on this machine")
    folder = tmp_path / "apple-1.0"
    folder.mkdir()
    (folder / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='apple', version='1.0', ext_modules=[Extension('apple', ['apple.c'])])\n"
    )
    (folder / "apple.c").write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef about = {PyModuleDef_HEAD_INIT, "apple", 0, -1, 0};\n'
        "PyMODINIT_FUNC PyInit_apple(void) {\n"
        "    PyObject *module = PyModule_Create(&about);\n"
        '    PyModule_AddStringConstant(module, "VERSION", "compiled");\n'
        "    return module;\n}\n"
    )
    path = archive(folder, tmp_path / "apple-1.0.tar.gz")
    environment = ensure(make_cache(variables=variables), f"apple @ {path.as_uri()}")
    assert version_of(environment, "apple") == "compiled"
