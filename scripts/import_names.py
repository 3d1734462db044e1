"""Make `stepflow_python/parsing/import_names.txt`: which distribution an imported module comes from.

Usage: uv run --no-project --with packaging,pigar==2.2.0,pipreqs==0.5.0 python scripts/import_names.py TOP.json

`TOP.json` is the list of the most downloaded distributions, https://hugovk.github.io/top-pypi-packages. A module gets a
name only if one of those really has it as a top-level module (pigar's index of all wheels says so); among several the
by far most downloaded one wins, then the one of the module's own name, then the one that pipreqs prefers. What stays
ambiguous has no entry: tools declare it.
"""

import importlib.util
import json
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from packaging.utils import canonicalize_name

WELL_KNOWN = 8000
"""Ranks by downloads: a typing error's trap is not among them."""
FAMOUS = 3000
"""Ranks within which a module may have quite another name than its distribution."""
FAR = 10
CHOSEN = {
    "cv2": "opencv-python-headless",  # the one that needs no display
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",  # the one with wheels
    "typing_extensions": "typing-extensions",
}
GENERIC = frozenset(
    {"api", "app", "assets", "base", "benchmark", "benchmarks", "bin", "build", "cli", "client", "common", "conf"}
    | {"config", "core", "data", "demo", "dist", "doc", "docs", "example", "examples", "helper", "helpers", "lib"}
    | {"libs", "main", "misc", "models", "module", "samples", "script", "scripts", "server", "shared", "src", "test"}
    | {"tests", "testing", "tool", "tools", "tutorials", "types", "util", "utils", "version", "website"}
)
TARGET = Path(__file__).parents[1] / "stepflow_python" / "parsing" / "import_names.txt"


def main() -> None:
    """Write the table."""
    rows = json.loads(Path(sys.argv[1]).read_text())["rows"][:WELL_KNOWN]
    downloads = {canonicalize_name(row["project"]): row["download_count"] for row in rows}
    famous = set(list(downloads)[:FAMOUS])
    preferred = _preferred()
    table = {}
    for module, names in _providers(set(downloads)).items():
        chosen = _chosen(module, {name: downloads[name] for name in names}, preferred.get(module, ""))
        if chosen is not None and (chosen in famous or chosen in {canonicalize_name(module), preferred.get(module)}):
            table[module] = chosen
    lines = [f"{module} {name}" for module, name in sorted((table | CHOSEN).items())]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _chosen(module: str, downloads: dict[str, int], preferred: str) -> str | None:
    ranked = sorted(downloads, key=lambda name: downloads[name], reverse=True)
    first, own = ranked[0], canonicalize_name(module)
    if len(ranked) == 1 or downloads[first] >= FAR * downloads[ranked[1]]:
        return first
    if own in downloads and downloads[own] * 3 >= downloads[first]:
        return own
    return preferred if preferred in downloads else None


def _providers(well_known: set[str]) -> dict[str, set[str]]:
    found = defaultdict(set)
    with closing(sqlite3.connect(_folder("pigar") / ".db.sqlite3")) as database:
        rows = database.execute(
            "SELECT module.name, distributions.name FROM top_level_module_names AS module "
            "JOIN distributions ON distributions.id = module.distribution_id"
        )
        for module, distribution in rows:
            name = canonicalize_name(distribution)
            if name in well_known and module.isidentifier() and not module.startswith("_") and module not in GENERIC:
                found[module].add(name)
    return found


def _preferred() -> dict[str, str]:
    lines = (_folder("pipreqs") / "mapping").read_text().splitlines()
    pairs = (line.strip().split(":", 1) for line in lines if ":" in line)
    return {module: canonicalize_name(name) for module, name in pairs}


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; see the usage in this file")
    return Path(spec.origin).parent


if __name__ == "__main__":
    main()
