"""The examples of deployment: valid for who reads them, without secrets, and with what workers need."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from stepflow_python.config import PREFIX, Settings
from stepflow_python.sandbox.remedies import NAMESPACES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
KUBERNETES = ("1.33", "1.35")
OUR_IMAGE = f"stepflow-worker:{version('stepflow-python')}"


def documents(path: Path) -> list[dict[str, Any]]:
    """All of a file's documents."""
    return list(yaml.safe_load_all(path.read_text()))


def containers() -> list[dict[str, Any]]:
    """Those of all manifests."""
    pods = [
        one["spec"]["template"]["spec"]
        for path in MANIFESTS
        for one in documents(path)
        if "template" in one.get("spec", {})
    ]
    return [container for pod in pods for container in pod["containers"]]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Those of the Compose file."""
    found: dict[str, Any] = documents(COMPOSE)[0]["services"]
    return found


def worker_pod() -> dict[str, Any]:
    """What a worker's pod is."""
    [pod] = [
        one["spec"]["template"]["spec"]
        for one in documents(DEPLOY / "kubernetes/worker.yaml")
        if one["kind"] == "Deployment"
    ]
    return dict(pod)


@pytest.mark.parametrize("release", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_knows_every_field(path: Path, release: str) -> None:
    """Each manifest fits the schema of its kind, and has no field that the schema has not."""
    for document in documents(path):
        kubernetes_validate.validate(document, release, strict=True)


def test_the_validator_finds_faults() -> None:
    """A field that is written wrong is no valid manifest: the test above can fail."""
    [deployment, *_] = documents(DEPLOY / "kubernetes/worker.yaml")
    deployment["spec"]["template"]["spec"]["hostUser"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[0], strict=True)


def test_every_manifest_is_applied() -> None:
    """The kustomization lists them all."""
    [kustomization] = documents(DEPLOY / "kubernetes/kustomization.yaml")
    assert {path.name for path in MANIFESTS} == set(kustomization["resources"])


def test_compose_knows_every_field(tmp_path: Path) -> None:
    """The file fits the specification's schema; one with a fault does not."""
    program = Path(sys.executable).with_name("check-jsonschema")
    broken = tmp_path / "compose.yaml"
    broken.write_text(COMPOSE.read_text().replace("depends_on:", "depend_on:"))
    for path, code in ((COMPOSE, 0), (broken, 1)):
        command = [program, "--builtin-schema", "vendor.compose-spec", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """Each names a full version, the same in both examples; ours is the one of this checkout."""
    in_compose = {service["image"] for service in services.values()}
    in_pods = {container["image"] for container in containers()}
    assert in_compose == in_pods
    assert all(re.fullmatch(r"[a-z-]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image) for image in in_pods)
    assert OUR_IMAGE in in_pods
    assert version("stepflow-python") == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_no_secret_is_in_a_file(services: dict[str, Any]) -> None:
    """Passwords come from the environment or from a Secret."""
    for service in services.values():
        for name, text in service.get("environment", {}).items():
            if "PASS" in name or "://" in text:
                assert re.search(r"\$\{[A-Z_]+(:\?[^}]+)?\}", text), name
    for container in containers():
        for variable in container.get("env", []):
            text = variable.get("value", "")
            if "PASS" in variable["name"]:
                assert set(variable["valueFrom"]) == {"secretKeyRef"}
            assert "://" not in text or re.search(r":\$\([A-Z_]+\)@", text), variable["name"]
    assert "Secret" not in {one["kind"] for path in MANIFESTS for one in documents(path)}


def test_settings_are_known(services: dict[str, Any]) -> None:
    """A worker would refuse to start with a setting that is none."""
    [worker] = [container for container in containers() if container["name"] == "worker"]
    names = {*services["worker"]["environment"], *(variable["name"] for variable in worker["env"])}
    ours = {name for name in names if name.startswith(PREFIX)}
    assert ours <= set(Settings.described())
    assert {f"{PREFIX}BROKER_URL", f"{PREFIX}DATABASE_URL"} <= ours


def test_the_worker_has_the_rights_that_the_first_tier_needs(services: dict[str, Any]) -> None:
    """Those that a refusal names, and neither root nor capabilities."""
    worker = services["worker"]
    asked = re.findall(r"--security-opt (\S+)", NAMESPACES["docker"])
    assert set(asked) <= set(worker["security_opt"])
    assert (worker["cap_drop"], worker["read_only"]) == (["ALL"], True)
    pod = worker_pod()
    [context] = [container["securityContext"] for container in pod["containers"]]
    assert (pod["hostUsers"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
    assert context["capabilities"] == {"drop": ["ALL"]}
    for name in ("procMount", "seccompProfile", "appArmorProfile"):
        said = json.dumps(context[name]).replace('"', "")
        assert f"{name}: {said}" in NAMESPACES["kubernetes"]


def test_probes_ask_what_the_worker_answers(services: dict[str, Any]) -> None:
    """It lives at /live, takes work at /ready, on the port that its words name."""
    [container] = worker_pod()["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/live", "liveness": "/live", "readiness": "/ready"}
    assert str(container["ports"][0]["containerPort"]) == container["args"][-1]
    assert "/ready" in services["worker"]["healthcheck"]["test"][-1]


def test_the_time_to_stop_is_longer_than_the_worker_s(services: dict[str, Any]) -> None:
    """What is running is handed back before the engine kills."""
    patience = Settings(home=Path("/h")).stop_timeout
    assert worker_pod()["terminationGracePeriodSeconds"] > patience + 10
    assert float(services["worker"]["stop_grace_period"].removesuffix("s")) > patience + 10
