"""Environments as callers in this process ask for them."""

import asyncio
import os
from pathlib import Path

import pytest

from stepflow_python.bootstrap.runtime import open_runtime
from stepflow_python.config import Settings
from stepflow_python.errors import EnvironmentUnavailableError
from stepflow_python.model.environment import EnvironmentConfig, PipConfig


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an empty home."""
    return Settings(home=tmp_path / "home")


def validated(settings: Settings, config: EnvironmentConfig) -> bool:
    """What a new process says of a configuration."""

    async def main() -> bool:
        async with open_runtime(settings, environ=os.environ) as runtime:
            return await runtime.executor.validate_environment(config)

    return asyncio.run(main())


def test_an_environment_is_validated(settings: Settings) -> None:
    """One that can be had is made; a file that is missing is noticed and put back."""
    config = EnvironmentConfig(base_packages=("six",))
    assert validated(settings, config)
    (module,) = (settings.home / "environments").glob("cp*/lib/*/site-packages/six.py")
    module.parent.chmod(0o755)
    module.unlink()
    assert validated(settings, config)
    assert module.exists()


def test_what_cannot_be_had_is_not_valid(settings: Settings) -> None:
    """Neither is a package that nobody has, nor a version of Python; a registry that is away is no answer."""
    assert not validated(settings, EnvironmentConfig(base_packages=("no-such-distribution-of-ours",)))
    assert not validated(settings, EnvironmentConfig(base_packages=("-r /etc/passwd",)))
    assert not validated(settings, EnvironmentConfig(python_version="2.7"))
    away = PipConfig.model_validate({"index_url": "http://127.0.0.1:9/simple", "retries": 0})
    with pytest.raises(EnvironmentUnavailableError):
        validated(settings, EnvironmentConfig(base_packages=("six",), pip_config=away))


def test_cleaning_up_takes_what_nobody_used(settings: Settings) -> None:
    """An environment that was last used long ago goes, one that is in use or was just used stays."""

    async def main() -> tuple[int, int, int]:
        async with open_runtime(settings, environ=os.environ) as runtime:
            environment_id = await runtime.environment.create_environment(EnvironmentConfig())
            environment = await runtime.environments.get(environment_id)
            counts = [(await runtime.cleanup(older_than_days=0))["environments"]]
            await runtime.environments.settle()
            async with runtime.environments.lease(environment):
                age(settings.home / "environments")
                counts.append((await runtime.cleanup(older_than_days=1))["environments"])
            age(settings.home / "environments")
            counts.append((await runtime.cleanup(older_than_days=1))["environments"])
            return counts[0], counts[1], counts[2]

    assert asyncio.run(main()) == (0, 0, 1)


def age(folder: Path) -> None:
    """Make all uses of environments long ago."""
    for used in (*folder.glob("cp*/.complete"), *folder.glob(".cache/leases/*")):
        os.utime(used, (1, 1))


def test_a_folder_of_its_own_has_limits_of_its_own(settings: Settings, tmp_path: Path) -> None:
    """Over them the least recently used one goes; without cleaning up all stay."""

    async def make(config: EnvironmentConfig) -> None:
        async with open_runtime(settings, environ=os.environ) as runtime:
            await runtime.environment.create_environment(config)

    def kept(*, auto_cleanup: bool) -> int:
        folder = tmp_path / f"own-{auto_cleanup}"
        for packages in ((), ("six",), ("idna",)):
            config = EnvironmentConfig(
                base_packages=packages, virtual_env_path=folder, auto_cleanup=auto_cleanup, max_environments=1
            )
            # The end of its loop waits for what is still removed in the background.
            asyncio.run(make(config))
            age(folder)  # one that was just used is spared
        return len(list(folder.glob("cp*")))

    assert kept(auto_cleanup=False) == 3
    assert kept(auto_cleanup=True) == 1
