"""Runs in boxes of this host, without the job around them."""

import asyncio
from collections.abc import Callable

from stepflow_python.model.result import SandboxOutcome
from stepflow_python.model.security import SecuritySettings
from stepflow_python.ports import SandboxRun
from stepflow_python.sandbox.host import SandboxConfig
from stepflow_python.sandbox.service import HostSandbox

Boxed = Callable[..., SandboxOutcome]
"""`boxed(source, **settings)`: runs `f` of a source; `settings` are of `SecuritySettings`, `limits` is `Limits`."""

STRICT = SecuritySettings()
STANDARD = SecuritySettings(enable_system_calls=True)
PERMISSIVE = SecuritySettings(enable_system_calls=True, enable_network_access=True)


def run_boxed(config: SandboxConfig, run: SandboxRun) -> SandboxOutcome:
    """One run, in a sandbox of its own."""
    return asyncio.run(_run(config, run))


async def _run(config: SandboxConfig, run: SandboxRun) -> SandboxOutcome:
    sandbox = HostSandbox(config)
    try:
        return await sandbox.run(run)
    finally:
        await sandbox.close()
