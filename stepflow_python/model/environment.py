"""Environments: what is asked for, and what is there."""

from pathlib import Path
from typing import NewType

from pydantic import Field, SecretStr

from stepflow_python.model.module import DependencySource
from stepflow_python.model.security import SecuritySettings
from stepflow_python.model.values import Value

EnvironmentId = NewType("EnvironmentId", str)


class PipConfig(Value):
    """Where packages come from; `timeout` in seconds. Addresses may hold credentials, so they are secrets."""

    index_url: SecretStr | None = None
    extra_index_urls: tuple[SecretStr, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = Field(default=30.0, gt=0)
    retries: int = Field(default=3, ge=0)


class EnvironmentConfig(Value):
    """A request for an environment; `python_version` such as `3.12` (none: the worker's default)."""

    python_version: str | None = None
    base_packages: tuple[str, ...] = ()
    virtual_env_path: Path | None = None
    pip_config: PipConfig = Field(default_factory=PipConfig)
    security_settings: SecuritySettings = Field(default_factory=SecuritySettings)
    auto_cleanup: bool = True
    max_environments: int = Field(default=100, ge=1)


class InstalledPackage(Value):
    """One distribution in an environment, by its normalised name."""

    name: str
    version: str
    source: DependencySource = DependencySource.PYPI


class Environment(Value):
    """A finished environment; nothing in it changes any more.

    `interpreter` is the virtualenv's own `bin/python`; `base_prefix` the installation it was made from, which a
    sandbox must show beside `path` for it to start.
    """

    id: EnvironmentId
    python_version: str
    path: Path
    interpreter: Path
    base_prefix: Path
    site_packages: Path
    packages: tuple[InstalledPackage, ...] = ()
    lock: str = Field(default="", repr=False)
    """The exact requirements with hashes that it was installed from, one a line."""
