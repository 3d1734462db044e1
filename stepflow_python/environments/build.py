"""Build one environment at its final path. Whoever calls holds its lock."""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepflow_python.environments import folder
from stepflow_python.environments.bytecode import BytecodeStore
from stepflow_python.environments.conda import Conda
from stepflow_python.environments.installer import Installer
from stepflow_python.environments.interpreters import Interpreter
from stepflow_python.environments.locked import locked_package
from stepflow_python.environments.threads import in_thread
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import Environment, EnvironmentId, InstalledPackage
from stepflow_python.model.module import DependencySource
from stepflow_python.ports import Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a build needs; `hold` is the descriptor of the environment's lock, for the programs that build."""

    id: EnvironmentId
    key: str
    path: Path
    interpreter: Interpreter
    lock: tuple[str, ...]
    installer: Installer
    bytecode: BytecodeStore
    app_data: Path
    conda: Conda | None = None


async def build(plan: Plan, lines: Sequence[str], *, hold: int, steps: Steps) -> Environment:
    """Clear the place, create, install, seal; bytecode only as far as it was made before.

    `lines` are those of the lock as the installer takes them: without what is from conda.

    Raises:
        PythonEnvironmentError: the interpreter cannot make virtualenvs.
        EnvironmentUnavailableError: the registry cannot be reached.
        DependencyError: a file is not the one that was locked.
        OSError: the disk.
    """
    await in_thread(folder.erase, plan.path)
    async with _erased_on_failure(plan.path):
        with steps.step(f"creating {plan.id}"):
            site_packages = await in_thread(_create, plan)
        python = plan.path / "bin" / "python"
        packages = _packages(plan.lock)
        if lines:
            fetched = (one for one in packages if one.source is not DependencySource.CONDA)
            named = ", ".join(f"{one.name} {one.version}" for one in fetched)
            with steps.step(f"installing {named}"):
                cached = await plan.installer.install_cached(lines, python, hold=hold)
            if not cached:
                with steps.step(f"downloading {named}"):
                    await plan.installer.install(lines, python, hold=hold)
        if plan.conda is not None and any(package.source is DependencySource.CONDA for package in packages):
            with steps.step("linking what is from conda"):
                await plan.conda.install(plan.lock, plan.path, plan.interpreter)
        environment = Environment(
            id=plan.id,
            python_version=plan.interpreter.version,
            path=plan.path,
            interpreter=python,
            base_prefix=plan.interpreter.base_prefix,
            site_packages=site_packages,
            packages=packages,
            lock="\n".join(plan.lock),
        )
        # Sealing writes the times so far, its own is not among them there.
        with steps.step("sealing"):
            await in_thread(_finish, plan, environment, steps.times)
        return environment


@contextlib.asynccontextmanager
async def _erased_on_failure(path: Path) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await in_thread(folder.erase, path)
        raise


def _create(plan: Plan) -> Path:
    """Make an empty virtualenv; returns its folder of packages."""
    from virtualenv import cli_run  # noqa: PLC0415 - takes 160 ms, which only a worker that builds should pay

    options = ["--no-seed", "--no-vcs-ignore", "--no-periodic-update", "--activators", "", "--symlinks"]
    places = ["--app-data", str(plan.app_data), "--python", str(plan.interpreter.executable), str(plan.path)]
    # A user's configuration of virtualenv must not change what an id stands for, nor may a link appear beside us.
    settings = {"VIRTUALENV_CONFIG_FILE": os.devnull, "VIRTUALENV_VENV_REDIRECT": "false"}
    try:
        session = cli_run([*options, *places], setup_logging=False, env=settings)
    except (RuntimeError, SystemExit) as error:
        raise PythonEnvironmentError(
            f"no virtualenv can be made from {plan.interpreter.executable}: {error}; choose another interpreter"
        ) from error
    site_packages = Path(session.creator.purelib)
    # A mend for distutils, for old Pythons: every start would pay for it, and nothing is ever built in here.
    for name in ("_virtualenv.pth", "_virtualenv.py"):
        (site_packages / name).unlink(missing_ok=True)
    return site_packages


def _finish(plan: Plan, environment: Environment, times: dict[str, float]) -> None:
    compiled = plan.bytecode.link(environment)
    folder.seal(environment, plan.key, compiled=compiled, times=times)


def _packages(lock: tuple[str, ...]) -> tuple[InstalledPackage, ...]:
    return tuple(sorted(map(locked_package, lock), key=lambda package: package.name))
