"""What the guest holds the tool's own process to, at each tier, with the means that this host has."""

from dataclasses import dataclass, field
from pathlib import Path

from stepflow_python.model.security import IsolationTier, SecuritySettings
from stepflow_python.process.landlock import landlock_abi
from stepflow_python.sandbox.filters import Filters
from stepflow_python.sandbox.landlock import SCOPE_ABI, Reach, abstract_sockets_only, ruleset


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Filters of system calls, and the version of Landlock, 0 for none.

    What the methods give is read by `Confinement` in the guest.
    """

    filters: Filters = field(default_factory=Filters.of)
    landlock_abi: int = field(default_factory=landlock_abi)

    def in_namespaces(self, security: SecuritySettings) -> dict[str, object]:
        """What a launcher cannot do."""
        # Abstract sockets belong to the network namespace, which is the host's then: D-Bus and others listen there.
        scoped = security.enable_network_access and self.landlock_abi >= SCOPE_ABI
        return {
            "filters": list(self.filters.before_the_tool(security)),
            "files": security.enable_file_access,
            "landlock": abstract_sockets_only() if scoped else None,
        }

    def alone(
        self, tier: IsolationTier, security: SecuritySettings, *, readable: tuple[Path, ...], work: Path
    ) -> dict[str, object]:
        """All that holds a tool where there is no launcher: `readable` folders of ours, and its `work` folder."""
        own = {"alone": True, "files": security.enable_file_access}
        if tier is not IsolationTier.LANDLOCK:
            return {**own, "filters": list(self.filters.before_the_tool(security))}
        reach = Reach(
            readable=readable,
            work=work if security.enable_file_access else None,
            network=security.enable_network_access,
        )
        return {
            **own,
            "filters": list(self.filters.without_namespaces(security, landlock_abi=self.landlock_abi)),
            "landlock": ruleset(reach, self.landlock_abi),
        }
