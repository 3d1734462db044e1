"""The worker's image: its base, its build, and the way to the package registry that this machine's pip has."""

import ast
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "localhost/stepflow-worker:test"
BASE = "localhost/stepflow-worker-base:test"
CERTIFICATES = "/run/certificates.pem"
TAKEN_OVER = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy")


def call(*words: str | Path) -> str:
    """What a command prints on its standard output; it must succeed."""
    done = subprocess.run([*map(str, words)], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words[:3]))} ... ended with {done.returncode}")
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """How pip on this machine reaches packages over the network: its options by name, a file of certificates."""

    options: dict[str, str]
    certificates: Path | None

    @classmethod
    def of_this_machine(cls) -> "Registry":
        """As `pip config` tells it: files first, then variables, which win."""
        lines = call(sys.executable, "-m", "pip", "config", "list").splitlines()
        pairs = [line.partition("=") for line in lines]
        given = {name.rpartition(".")[2]: str(ast.literal_eval(text)) for name, _, text in pairs}
        # A folder of this machine would be none in there.
        places = {
            name: [p for p in given.get(name, "").split() if not p.startswith(("/", "file:"))] for name in TAKEN_OVER
        }
        options = {name: " ".join(found) for name, found in places.items() if found}
        return cls(options=options, certificates=Path(given["cert"]) if "cert" in given else None)

    def secrets(self, folder: Path) -> list[str]:
        """Options of a build: what pip is told goes through a file in `folder`, and into no layer."""
        lines = [f"{name} = {text}" for name, text in self.options.items()]
        lines += [f"cert = {CERTIFICATES}"] if self.certificates else []
        file = folder / "pip.conf"
        file.write_text("[global]\n" + "\n".join(lines) + "\n")
        secrets = ["--secret", f"id=pip,src={file}"]
        return secrets + (["--secret", f"id=certificates,src={self.certificates}"] if self.certificates else [])

    def for_runs(self) -> list[str]:
        """Options of a container whose worker is to install packages."""
        words = ["--env", f"PIP_INDEX_URL={self.options['index-url']}"] if "index-url" in self.options else []
        if self.certificates:
            words += ["--volume", f"{self.certificates}:{CERTIFICATES}:ro", "--env", f"PIP_CERT={CERTIFICATES}"]
        return words


def base_from_packages() -> str:
    """A base image made of this machine's distribution, by the mirror that its own apt is configured for; its name."""
    for program in ("debootstrap", "apt-get"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: install it, or name a base image that can be pulled: --base IMAGE")
    targets = call(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"
    )
    codename = call("sh", "-c", '. /etc/os-release && echo "$VERSION_CODENAME"')
    mirror = next((line.split()[0] for line in targets.splitlines() if line.split()[1:] == [codename, "main"]), None)
    if mirror is None:
        raise SystemExit(f"apt is not configured for {codename}; name a base image that can be pulled: --base IMAGE")
    packages = "--include=python3,python3-venv,ca-certificates"
    # Not below /tmp, which is often memory, or mounted so that no device can be made.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="stepflow-base-") as folder:
        call("debootstrap", "--variant=minbase", packages, codename, folder, mirror)
        shutil.rmtree(Path(folder, "var/cache/apt"), ignore_errors=True)
        return committed(folder)


def committed(folder: str) -> str:
    """An image of one layer with what is in a folder; its name."""
    container = call("buildah", "from", "scratch")
    try:
        call("buildah", "add", "--quiet", container, folder, "/")
        call("buildah", "commit", "--quiet", container, BASE)
    finally:
        call("buildah", "rm", container)
    return BASE


def build(base: str) -> str:
    """Build the image on this base; its name."""
    registry = Registry.of_this_machine()
    with tempfile.TemporaryDirectory(prefix="stepflow-secrets-") as folder:
        secrets = registry.secrets(Path(folder))
        # `docker` is the format that has a health check.
        # Nothing of a build needs more than a changed root; that works inside of containers too.
        words = ["buildah", "bud", "--quiet", "--format", "docker", "--isolation", "chroot", *secrets]
        call(*words, "--build-arg", f"BASE={base}", "--tag", IMAGE, "--file", ROOT / "worker.Dockerfile", ROOT)
    return IMAGE


def size_mb(image: str) -> float:
    """Of all its layers, in units of 10^6 bytes."""
    return int(call("podman", "image", "inspect", "--format", "{{.Size}}", image)) / 1e6
