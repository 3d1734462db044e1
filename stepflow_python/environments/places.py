"""Where things are in the folder of environments."""

from dataclasses import dataclass
from pathlib import Path

from stepflow_python.model.environment import EnvironmentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """One folder: an environment in each subfolder, and `.cache` with all that may be made anew."""

    root: Path

    @property
    def scratch(self) -> Path:
        """Whatever may be made anew."""
        return self.root / ".cache"

    @property
    def downloads(self) -> Path:
        """The installer's cache.

        One of our own: files are shared with it by hard links and made read-only, which must not reach into the
        user's other environments, nor their edits into ours.
        """
        return self.scratch / "uv"

    @property
    def wheels(self) -> Path:
        """Wheels that were built from source here."""
        return self.scratch / "wheels"

    @property
    def conda(self) -> Path:
        """Archives from conda channels, and what those channels have."""
        return self.scratch / "conda"

    def of(self, environment_id: EnvironmentId) -> Path:
        """The folder of an environment."""
        return self.root / environment_id

    def lock_of(self, environment_id: EnvironmentId) -> Path:
        """The lock of whoever builds, completes or removes it."""
        return self.scratch / "builds" / f"{environment_id}.lock"
