"""What was found before: in memory, and on disk for the next process. Nothing is asked of anyone."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from stepflow_python.environments import folder
from stepflow_python.environments.files import write_whole
from stepflow_python.environments.installer_env import package_sources, resolution_settings
from stepflow_python.environments.inventory import changed_folders, is_compiled
from stepflow_python.model.environment import Environment, EnvironmentId
from stepflow_python.model.values import Value
from stepflow_python.ports import EnvironmentSpec

_REMEMBERED = 1024
_LAYOUT = 1


class _Found(Value):
    """Which environment it was; `good_until` in seconds since the epoch."""

    id: EnvironmentId
    good_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    environment: Environment
    good_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Environments by what was asked for.

    `environments` is their folder, `notes` that of what is written here. `context` is all that decides beside the
    question: settings, versions.
    """

    environments: Path
    notes: Path
    context: tuple[str, ...]
    clock: Callable[[], float]
    _known: dict[EnvironmentSpec, _Known] = field(default_factory=dict)

    def get(self, spec: EnvironmentSpec, variables: Mapping[str, str]) -> Environment | None:
        """The environment of a question that was answered before, if it is still there, untouched, and not outdated.

        Args:
            spec: the question.
            variables: the installer's.
        """
        known = self._known.get(spec)
        if known is not None:
            fresh = self.clock() < known.good_until and folder.is_whole(known.environment)
            return known.environment if fresh else None
        try:
            found = _Found.model_validate_json(self._note(spec, variables).read_bytes())
        except (OSError, ValidationError):
            return None
        if self.clock() >= found.good_until:
            return None
        environment = folder.read(self.environments / found.id)
        if environment is None or (is_compiled(environment.path) and changed_folders(environment.path)):
            return None
        self._remember(spec, environment, found.good_until)
        return environment

    def put(
        self, spec: EnvironmentSpec, variables: Mapping[str, str], environment: Environment, good_until: float
    ) -> None:
        """Answer the same question so until then (epoch seconds)."""
        self._remember(spec, environment, good_until)
        found = _Found(id=environment.id, good_until=good_until)
        write_whole(self._note(spec, variables), found.model_dump_json().encode(), durable=False)

    def forget(self, environment_id: EnvironmentId) -> None:
        """Look at the disk again before this environment is given."""
        for spec in [spec for spec, known in self._known.items() if known.environment.id == environment_id]:
            self._known.pop(spec, None)

    def _remember(self, spec: EnvironmentSpec, environment: Environment, good_until: float) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)), None)
        self._known[spec] = _Known(environment=environment, good_until=good_until)

    def _note(self, spec: EnvironmentSpec, variables: Mapping[str, str]) -> Path:
        imports = [one.module for one in spec.imports]
        asked = [
            spec.requirements,
            imports,
            spec.lock,
            spec.python,
            package_sources(variables),
            resolution_settings(variables),
        ]
        text = json.dumps([_LAYOUT, *asked, self.context])
        return self.notes / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
