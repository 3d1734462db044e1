"""How much may wait."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmOptions:
    """Bounds of what waits for runs.

    `spares` processes of one zygote, `memory_mib` of all zygotes with theirs, `forks` after which a zygote is replaced,
    `window_s` within which the second call of a tool makes it warm, `idle_s` after which what nobody calls is ended.
    `eager`: the first call already waits until there is a zygote.
    """

    spares: int = 8
    memory_mib: int = 1024
    forks: int = 10_000
    window_s: float = 600.0
    idle_s: float = 300.0
    eager: bool = False
