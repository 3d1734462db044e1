"""Bytecode of wheels: compiled once for each interpreter, then shared between environments by hard links.

The sources of a wheel are hard links to the installer's cache. So the number of a file on the disk (its inode) says
which unpacked wheel it comes from, and its time, which the bytecode repeats, is the same in every environment. What a
wheel says of itself, its `RECORD`, would not do as a key: a wheel could claim to be another one, and have its own
bytecode run in that one's place.
"""

import contextlib
import csv
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.environments.threads import in_thread
from stepflow_python.model.environment import Environment
from stepflow_python.process.run import run_command

_PIN = "METADATA"
"""A hard link to the wheel's own file: while it lives, its number stands for no other file."""
_CACHE = "__pycache__"
_SEALED = 0o555


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wheel:
    """An installed distribution; `shared` if its files are the installer's own."""

    info: Path
    key: str
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeStore:
    """Compiled wheels below a folder, which must be on the file system of the environments."""

    folder: Path
    timeout_s: float

    def link(self, environment: Environment) -> bool:
        """Link in all that was compiled before; whether that is everything."""
        whole = True
        for wheel in _wheels(environment.site_packages):
            stored = self._entry(wheel, environment)
            if _holds(stored, wheel):
                _link_all(stored, environment.site_packages)
            else:
                whole = False
        return whole

    async def compile(self, environment: Environment, *, hold: int) -> None:
        """Compile what is not stored yet, store it, and link it in. No module runs.

        The base interpreter does it, without `site`: a virtualenv's own python would run what the packages put into
        `.pth` files, here in the worker. A file that is not valid for this Python stays as it is.

        Raises:
            TimeoutError: it took too long.
            OSError: the disk.
        """
        site_packages = environment.site_packages
        wheels = [one for one in _wheels(site_packages) if not _holds(self._entry(one, environment), one)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-", ignore_cleanup_errors=True) as name:
            new = Path(name)
            places = {site_packages / source.partition("/")[0] for wheel in wheels for source in _sources(wheel.info)}
            base = environment.interpreter.resolve()
            argv = [str(base), "-I", "-S", "-X", f"pycache_prefix={new / 'tree'}"]
            argv += ["-m", "compileall", "-q", "-j", "0", *sorted(map(str, places))]
            if places:
                await run_command(argv, env={}, timeout_s=self.timeout_s, pass_fds=(hold,))
            compiled = new / "tree" / str(site_packages).lstrip("/")
            await in_thread(self._store, wheels, compiled, environment)

    def prune(self) -> None:
        """Remove what no unpacked wheel needs any more."""
        for pin in self.folder.glob(f"*/*/{_PIN}"):
            with contextlib.suppress(OSError):
                if pin.stat().st_nlink == 1:
                    shutil.rmtree(pin.parent, ignore_errors=True)

    def forget(self, environment: Environment) -> None:
        """Remove what was compiled of the wheels of a damaged environment."""
        for wheel in _wheels(environment.site_packages):
            shutil.rmtree(self._entry(wheel, environment), ignore_errors=True)

    def _entry(self, wheel: _Wheel, environment: Environment) -> Path:
        tag = environment.id.partition("-")[0]
        return self.folder / f"{tag}-{environment.python_version}" / wheel.key

    def _store(self, wheels: list[_Wheel], compiled: Path, environment: Environment) -> None:
        for number, wheel in enumerate(wheels):
            entry = compiled.parent / f".entry-{number}"
            entry.mkdir(parents=True)
            for source in _sources(wheel.info):
                folder, _, module = source.rpartition("/")
                # `module.py` was compiled to `module.<tag>.pyc`.
                for made in (compiled / folder).glob(f"{module.removesuffix('.py')}.*.pyc"):
                    target = entry / folder / _CACHE
                    target.mkdir(parents=True, exist_ok=True)
                    made.chmod(0o444)
                    made.rename(target / made.name)
            _link_all(entry, environment.site_packages)
            if wheel.shared:
                (entry / _PIN).hardlink_to(wheel.info / _PIN)
                stored = self._entry(wheel, environment)
                stored.parent.mkdir(exist_ok=True)
                with contextlib.suppress(OSError):  # somebody else just stored it
                    entry.rename(stored)


def _wheels(site_packages: Path) -> Iterator[_Wheel]:
    for info in site_packages.glob("*.dist-info"):
        try:
            status = (info / _PIN).stat()
        except OSError:
            continue
        yield _Wheel(info=info, key=f"{status.st_dev:x}-{status.st_ino:x}", shared=status.st_nlink > 1)


def _holds(stored: Path, wheel: _Wheel) -> bool:
    try:
        return (stored / _PIN).samefile(wheel.info / _PIN)
    except OSError:
        return False


def _sources(info: Path) -> Iterator[str]:
    """The modules that a wheel says are its own, none outside the folder of packages."""
    try:
        with (info / "RECORD").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            names = [row[0] for row in csv.reader(file) if row]
    except (OSError, csv.Error):
        return
    for name in names:
        if name.endswith(".py") and not name.startswith("/") and ".." not in name.split("/"):
            yield name


def _link_all(entry: Path, site_packages: Path) -> None:
    """Link every compiled file beside its source; one that is there already stays."""
    for folder, _, names in os.walk(entry):
        if not folder.endswith(_CACHE):
            continue
        inside = folder[len(str(entry)) + 1 :]
        target = f"{site_packages}/{inside}"
        with _writable(os.path.dirname(target)), _made(target):  # noqa: PTH120 - hundreds of folders on the way of a build
            for name in names:
                with contextlib.suppress(FileExistsError):
                    os.link(f"{folder}/{name}", f"{target}/{name}")


@contextlib.contextmanager
def _made(folder: str) -> Iterator[None]:
    try:
        os.mkdir(folder)  # noqa: PTH102 - as above
    except FileExistsError:
        with _writable(folder):
            yield
    else:
        yield
        os.chmod(folder, _SEALED)  # noqa: PTH101 - as above


@contextlib.contextmanager
def _writable(folder: str) -> Iterator[None]:
    """A sealed folder is open for its owner while something is added."""
    try:
        mode = os.stat(folder).st_mode & 0o7777  # noqa: PTH116 - as above
    except FileNotFoundError:
        # Its source is listed but was not installed.
        os.makedirs(folder)  # noqa: PTH103 - as above
        mode = 0o755
    if mode & 0o200:
        yield
        return
    os.chmod(folder, mode | 0o200)  # noqa: PTH101 - as above
    try:
        yield
    finally:
        os.chmod(folder, mode)  # noqa: PTH101 - as above
