"""What the image is made of is pinned; that it works is what `make container-test` finds out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "worker.Dockerfile").read_text()
INSTRUCTIONS = [
    re.sub(r"\\\n\s*", "", block)
    for block in re.findall(
        r"^[A-Z]+ (?:.*\\\n)*.*$", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE), re.MULTILINE
    )
]


def of(name: str) -> list[str]:
    """What follows an instruction's name, for each of them."""
    return [line.partition(" ")[2] for line in INSTRUCTIONS if line.startswith(f"{name} ")]


def test_the_base_is_an_argument_with_a_full_version() -> None:
    """Both stages are on it; its default names no registry and no moving tag."""
    assert len(of("ARG")) == 1
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-[a-z]+", of("ARG")[0])
    assert [line.split()[0] for line in of("FROM")] == ["${BASE}", "${BASE}"]


def test_nothing_is_installed_but_from_a_lock() -> None:
    """Each call of an installer takes hashes, or what is in the build already; no distribution's packages are added."""
    calls = [call for line in of("RUN") for call in line.split("&&") if re.search(r"\bpip .*\b(install|wheel)\b", call)]
    assert len(calls) == 4
    for call in calls:
        assert ("--require-hashes" in call and "--only-binary :all:" in call) or "--no-index" in call, call
    assert not re.search(r"\b(apt|apt-get|apk|dnf|curl|wget)\b", "".join(of("RUN")))
    assert not of("ADD")


@pytest.mark.parametrize("name", ["build", "runtime"])
def test_every_line_of_a_lock_has_a_hash(name: str) -> None:
    """A requirement is one version and its hashes."""
    assert f"requirements/{name}.txt" in DOCKERFILE
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", "")
    requirements = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert requirements
    assert all(re.match(r"\S+==\S+.*--hash=sha256:", line) for line in requirements)


def test_the_worker_s_user_is_a_number_that_is_not_root_s() -> None:
    """Kubernetes can only tell numbers from root."""
    assert of("USER") == ["10001:10001"]
    assert INSTRUCTIONS.index("USER 10001:10001") < next(
        n for n, line in enumerate(INSTRUCTIONS) if "ENTRYPOINT" in line
    )


def test_the_port_of_the_health_check_is_the_worker_s() -> None:
    """Where it is asked, it answers."""
    [environment], [command], [port], [check] = of("ENV"), of("CMD"), of("EXPOSE"), of("HEALTHCHECK")
    assert f"HEALTH_PORT={port}" in environment
    assert command == f'["worker", "--health-port", "{port}"]'
    assert "HEALTH_PORT" in check
    assert "/live" in check
