"""Packages from a conda channel, in environments as any other."""

import asyncio
import functools
import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stepflow_python.environments.cache import CacheOptions, EnvironmentCache
from stepflow_python.environments.service import VirtualEnvironments
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.model.environment import Environment
from stepflow_python.model.module import Dependency, DependencySource
from stepflow_python.parsing.parser import parse_module
from stepflow_python.ports import EnvironmentSpec

MakeWheel = Callable[..., Path]
PLACEHOLDER = "/opt/a-placeholder-for-the-prefix"
PYTHON = "cp311"


class Channel:
    """A channel in a folder, with packages that are made on the spot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for subdir in ("noarch", "linux-64"):
            (folder / subdir).mkdir(parents=True)
            self._write(subdir, {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}})

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        files: Mapping[str, str],
        depends: tuple[str, ...],
        noarch: bool = True,
    ) -> Path:
        """Make a package; one that is `noarch` has its modules in `site-packages`."""
        subdir = "noarch" if noarch else "linux-64"
        index: dict[str, Any] = {"name": name, "version": version, "build": "0", "build_number": 0, "subdir": subdir}
        index["depends"] = list(depends)
        content = {"info/index.json": index, "info/paths.json": {"paths_version": 1, "paths": _paths(files)}}
        if noarch:
            index["noarch"] = "python"
            content["info/link.json"] = {"noarch": {"type": "python"}, "package_metadata_version": 1}
        path = self.folder / subdir / f"{name}-{version}-0.tar.bz2"
        with tarfile.open(path, "w:bz2") as tarred:
            for member, text in {**{key: json.dumps(value) for key, value in content.items()}, **files}.items():
                about = tarfile.TarInfo(member)
                about.size = len(text.encode())
                tarred.addfile(about, io.BytesIO(text.encode()))
        repodata = json.loads((self.folder / subdir / "repodata.json").read_text())
        hashes = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        repodata["packages"][path.name] = index | hashes
        self._write(subdir, repodata)
        return path

    def _write(self, subdir: str, repodata: dict[str, Any]) -> None:
        (self.folder / subdir / "repodata.json").write_text(json.dumps(repodata))


def _paths(files: Mapping[str, str]) -> list[dict[str, Any]]:
    entries = []
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        entry = {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(text.encode())}
        if PLACEHOLDER in text:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
        entries.append(entry)
    return entries


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    """A channel with `pear`, which any Python takes, and `quince`, made for Python 3.11, with a library of its own."""
    made = Channel(tmp_path / "channel")
    about = {"site-packages/pear-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pear\nVersion: 1.0\n"}
    made.add(
        "pear",
        files={"site-packages/pear.py": "import quince\nVERSION = '1.0'\n", **about},
        depends=("python >=3.8", "quince >=2"),
    )
    made.add(
        "quince",
        "2.0",
        files={
            "lib/python3.11/site-packages/quince.py": f"LIBRARY = '{PLACEHOLDER}/lib/libquince.txt'\n",
            "lib/libquince.txt": "a library",
            "bin/.quince-post-link.sh": "#!/bin/sh\ntouch $PREFIX/it-ran\n",
        },
        depends=("python >=3.11,<3.12.0a0", f"python_abi 3.11.* *_{PYTHON}"),
        noarch=False,
    )
    return made


@pytest.fixture
def conda_cache(place: Path, local_variables: Mapping[str, str], channel: Channel) -> EnvironmentCache:
    """A cache whose operator names the channel."""
    options = CacheOptions(conda_channels=(channel.folder.as_uri(),), default_python="3.11")
    return EnvironmentCache(place, environ=local_variables, options=options)


def ensure(cache: EnvironmentCache, *requirements: str, lock: str | None = None) -> Environment:
    """The environment of some requirements, or of a lock."""
    lines = None if lock is None else tuple(lock.splitlines())
    return asyncio.run(_settled(cache, EnvironmentSpec(requirements=requirements, lock=lines)))


async def _settled(cache: EnvironmentCache, spec: EnvironmentSpec) -> Environment:
    environment = await cache.ensure(spec)
    await cache.settle()
    return environment


def said(environment: Environment, code: str) -> str:
    """What a program prints in an environment."""
    done = subprocess.run([environment.interpreter, "-I", "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_packages_of_a_channel_and_of_the_registry(
    conda_cache: EnvironmentCache, make_wheel: MakeWheel, channel: Channel
) -> None:
    """Both are importable side by side, with what they need; prefixes are put right, and no script of a package ran."""
    make_wheel("apple")
    environment = ensure(conda_cache, "conda:pear>=1", "apple")
    packages = [(package.name, package.version, package.source) for package in environment.packages]
    assert packages == [
        ("apple", "1.0", DependencySource.PYPI),
        ("pear", "1.0", DependencySource.CONDA),
        ("quince", "2.0", DependencySource.CONDA),
    ]
    assert said(environment, "import apple, pear; print(apple.VERSION, pear.VERSION)") == "1.0 1.0"
    library = said(environment, "import quince; print(quince.LIBRARY)")
    assert library == str(environment.path / "lib" / "libquince.txt")
    assert Path(library).read_text() == "a library"
    assert not (environment.path / "it-ran").exists()
    assert ensure(conda_cache, "apple", "conda:pear>=1") == environment
    assert f"# conda {channel.folder.as_uri()}/noarch/pear-1.0-0.tar.bz2" in environment.lock


def test_a_lock_is_replayed(conda_cache: EnvironmentCache, channel: Channel) -> None:
    """The same archives, whatever the channel has by now; without the archive kept here, the channel's by its hash."""
    environment = ensure(conda_cache, "conda:pear")
    archive = channel.folder / "noarch" / "pear-1.0-0.tar.bz2"
    archive.write_bytes(b"something else")
    asyncio.run(conda_cache.remove(environment.id))
    assert ensure(conda_cache, lock=environment.lock) == environment
    assert said(environment, "import pear; print(pear.VERSION)") == "1.0"
    asyncio.run(conda_cache.remove(environment.id))
    for kept in (conda_cache.path / ".cache" / "conda" / "archives").glob("*/pear*"):
        kept.write_bytes(b"damaged")
    with pytest.raises(DependencyError, match="it was changed"):
        ensure(conda_cache, lock=environment.lock)
    elsewhere = environment.lock.replace(channel.folder.as_uri(), "file:///elsewhere")
    with pytest.raises(DependencyError, match="in none of the channels"):
        ensure(conda_cache, lock=elsewhere)


def test_a_channel_over_http(place: Path, local_variables: Mapping[str, str], channel: Channel) -> None:
    """Its newest packages are taken when asked to refresh."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(channel.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        options = CacheOptions(conda_channels=(address,), default_python="3.11")
        cache = EnvironmentCache(place, environ={**local_variables, "NO_PROXY": "*"}, options=options)
        first = ensure(cache, "conda:pear")
        about = {"site-packages/pear-1.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: pear\nVersion: 1.1\n"}
        channel.add("pear", "1.1", files=about, depends=("python",))
        assert ensure(cache, "conda:pear") == first
        spec = EnvironmentSpec(requirements=("conda:pear",))
        second = asyncio.run(cache.ensure(spec, refresh=True))
        server.shutdown()
        thread.join()
    assert f"# conda {address}/noarch/pear-1.0-0.tar.bz2" in first.lock
    assert [(package.name, package.version) for package in second.packages] == [("pear", "1.1")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("conda:pear>=9", "No candidates were found for pear >=9"),
        ("conda:medlar", "No candidates were found for medlar"),
        ("conda:pear; python_version > '3'", "not a package from conda"),
        ("conda:pear @ https://host/pear.conda", "not a package from conda"),
        ("conda:", "not a package from conda"),
        ("conda:pear[all]", "not a package from conda"),
    ],
)
def test_what_cannot_be_had(conda_cache: EnvironmentCache, line: str, message: str) -> None:
    """The solver's own words, or what is wrong with the line."""
    with pytest.raises(DependencyError, match=message):
        ensure(conda_cache, line)


def test_another_python_than_it_was_made_for(conda_cache: EnvironmentCache) -> None:
    """The interpreter is a package like others to the solver, and says which one is needed."""
    spec = EnvironmentSpec(requirements=("conda:quince",), python="3.12")
    with pytest.raises(DependencyError, match=r"python >=3\.11,<3\.12"):
        asyncio.run(conda_cache.ensure(spec))


def test_the_same_from_both(conda_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """One would overwrite the other: refused, with both names and a way out."""
    make_wheel("quince")
    make_wheel("apple", requires=("quince",))
    with pytest.raises(DependencyError, match="quince: needed from the registry by one requirement and from conda"):
        ensure(conda_cache, "apple", "conda:pear")


def test_without_a_channel(local_cache: EnvironmentCache) -> None:
    """The setting is named."""
    with pytest.raises(DependencyError, match="CONDA_CHANNELS"):
        ensure(local_cache, "conda:pear")


def test_a_channel_that_is_away(place: Path, local_variables: Mapping[str, str]) -> None:
    """It may be there later."""
    options = CacheOptions(conda_channels=("http://127.0.0.1:9/channel",))
    cache = EnvironmentCache(place, environ=local_variables, options=options)
    with pytest.raises(EnvironmentUnavailableError, match="a channel cannot be read now"):
        ensure(cache, "conda:pear")


def test_more_from_conda_in_an_environment(conda_cache: EnvironmentCache, make_wheel: MakeWheel) -> None:
    """Added through the public interface; what is there keeps its version."""
    make_wheel("apple")
    environment = ensure(conda_cache, "apple")
    wanted = Dependency(name="pear", version=">=1", source=DependencySource.CONDA)
    extended = asyncio.run(VirtualEnvironments(conda_cache).install_dependencies(environment.id, [wanted]))
    further = asyncio.run(VirtualEnvironments(conda_cache).install_dependencies(extended, []))
    assert further == extended
    found = asyncio.run(conda_cache.get(extended))
    assert [package.name for package in found.packages] == ["apple", "pear", "quince"]


def test_a_tool_declares_it() -> None:
    """In its script block, with its source."""
    code = '# /// script\n# dependencies = ["conda:gdal>=3.8", "six"]\n# ///\n'
    found = parse_module(code, name="tool", max_code_size=1000).dependencies
    assert [(one.name, one.version, one.source) for one in found] == [
        ("gdal", ">=3.8", DependencySource.CONDA),
        ("six", None, DependencySource.PYPI),
    ]
    assert found[0].requirements == ("conda:gdal>=3.8",)
