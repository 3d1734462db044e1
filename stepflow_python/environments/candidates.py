"""Where interpreters may be on a machine. Nothing is started here."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

OLDEST = (3, 8)
NEWEST = (3, 14)

_NAMES = ("python3", *(f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)))


def candidates(environ: Mapping[str, str], *, running: Path) -> tuple[Path, ...]:
    """Executables that may be CPython: the running one, PATH, pyenv, the system's, the installer's own.

    Each is the real file behind its links, once. Scripts are left out: the shim of a version switcher is one, and
    answers for whichever version is switched on; the real ones are found in the switcher's folder.
    """
    found: dict[Path, None] = {}
    for path in (running, *_places(environ)):
        real = _real(path)
        if real is not None and real not in found and _is_program(real):
            found[real] = None
    return tuple(found)


def _places(environ: Mapping[str, str]) -> Iterator[Path]:
    # Relative entries, the empty one too, mean the current folder, where anything may lie.
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if Path(folder).is_absolute()]
    for folder in (*folders, Path("/usr/local/bin"), Path("/usr/bin")):
        yield from (folder / name for name in _NAMES)
    for versions in _version_folders(environ):
        if versions.is_dir():
            yield from (folder / "bin" / "python3" for folder in sorted(versions.iterdir()))


def _version_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Folders that hold one installation a subfolder."""
    home = environ.get("HOME")
    if "PYENV_ROOT" in environ:
        yield Path(environ["PYENV_ROOT"]) / "versions"
    elif home:
        yield Path(home) / ".pyenv" / "versions"
    data = environ.get("XDG_DATA_HOME") or (f"{home}/.local/share" if home else None)
    if "UV_PYTHON_INSTALL_DIR" in environ:
        yield Path(environ["UV_PYTHON_INSTALL_DIR"])
    elif data:
        yield Path(data) / "uv" / "python"


def _real(path: Path) -> Path | None:
    try:
        # Most places are empty: one look is enough there, where following links takes one for each folder.
        return path.resolve(strict=True) if os.access(path, os.X_OK) else None
    except (OSError, RuntimeError):  # a loop of links is a RuntimeError before Python 3.13
        return None


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False
