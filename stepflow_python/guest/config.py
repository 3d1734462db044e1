"""What a zygote is told at its start."""

from __future__ import annotations

from .request import Confinement, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple


class Config:
    """What all runs of a zygote have in common.

    `folders` are (path, mode, bytes) of file systems in memory, `kept` what lies below them and is no run's own;
    `confinement` holds all of a box, `tools` the tool's own process beyond that, as the level wants.
    """

    __slots__ = (
        "confinement",
        "env",
        "folders",
        "imports",
        "kept",
        "network",
        "output_folder",
        "prefix",
        "site_packages",
        "tools",
    )

    def __init__(self, payload: Any) -> None:
        fields = Fields(payload, "config")
        self.site_packages: str = fields.take("site_packages", str)
        self.prefix: str = fields.take("prefix", str)
        self.env: dict[str, str] = fields.take("env", dict)
        self.imports: List[Tuple[str, List[str]]] = fields.take("imports", list)
        self.folders: List[Tuple[str, str, int]] = fields.take("folders", list)
        self.kept: List[str] = fields.take("kept", list)
        self.network: bool = fields.take("network", bool)
        self.output_folder: str = fields.take("output_folder", str)
        self.confinement = Confinement(Fields(fields.take("confinement", dict), "confinement"))
        self.tools = Confinement(Fields(fields.take("tools", dict), "tools"))
