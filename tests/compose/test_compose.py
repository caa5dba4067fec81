"""What the compose file, the Dockerfiles and the settings promise, without an engine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docker.utils.build import exclude_paths
from typer.testing import CliRunner

from harness.cli.app import app
from harness.config import load_profile
from tests.compose.conftest import PARTS, ROOT

SOCKET = "/var/run/docker.sock"
DOCKERFILES = ("Dockerfile", "Dockerfile.model")
VARIABLE = re.compile(r"\$\{(\w+)")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SERVICES = (
    *("model", "vllm", "student", "teacher", "trainer"),
    *("harness", "harness-vllm", "harness-endpoint"),
    *("sweeper", "report"),
)


@pytest.fixture
def service(compose: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][request.param]
    return found


every_service = pytest.mark.parametrize("service", SERVICES, indirect=True)


def commands() -> list[list[str]]:
    """Compose v1 and v2, as far as this machine has them."""
    found = [["docker-compose"]] if shutil.which("docker-compose") else []
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and not subprocess.run([*plugin, "version"], capture_output=True).returncode
    ):
        found.append(plugin)
    return found


@pytest.mark.parametrize("profile", ["cpu", "vllm", "endpoint", "gpu"])
def test_compose_takes_the_file_with_the_example_settings(profile: str, tmp_path: Path) -> None:
    if not commands():
        pytest.skip("no compose on this machine")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COMPOSE_PROFILES": profile}
    for command in commands():
        done = subprocess.run(
            [*command, "config", "-q"], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_every_service_is_tested_here(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == set(SERVICES)


@every_service
def test_a_service_is_bounded_and_watched(service: dict[str, Any]) -> None:
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["restart"] in ("no", "on-failure")
    assert not service.keys() & {"privileged", "pid", "ipc", "devices"}


@every_service
def test_only_a_service_with_the_engine_is_root(service: dict[str, Any]) -> None:
    has_engine = any(str(bind).endswith(f":{SOCKET}") for bind in service["volumes"])
    assert (service.get("user") == "0:0") == has_engine
    if not has_engine:
        assert "cap_add" not in service


@every_service
def test_own_images_run_on_read_only_file_systems(service: dict[str, Any]) -> None:
    own = service["image"].startswith("swe-harness-compose/")
    assert service.get("read_only", False) is own


def test_models_and_reports_do_not_see_the_engine(compose: dict[str, Any]) -> None:
    for name in ("model", "vllm", "student", "teacher", "report"):
        assert SOCKET not in str(compose["services"][name]["volumes"])


def test_only_reports_are_published_and_to_this_machine_alone(compose: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert list(published) == ["report"]
    assert all(port.startswith("127.0.0.1:") for port in published["report"])
    assert "models" not in compose["services"]["report"]["networks"]


def test_a_harness_starts_after_its_model_and_its_sweeper(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, model in {
        "harness": "model",
        "harness-vllm": "vllm",
        "harness-endpoint": "",
        "trainer": "student teacher",
    }.items():
        waits = services[name]["depends_on"]
        assert set(waits) == {"sweeper", *model.split()}
        assert {wait["condition"] for wait in waits.values()} == {"service_healthy"}
        for other in waits:
            assert (
                services[other].get("profiles", services[name]["profiles"])
                == services[name]["profiles"]
            )


def test_secrets_come_from_settings_alone(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                assert value == f"${{{name}:-}}"
    example = (ROOT / ".env.example").read_text()
    assert not re.search(r"^#?\w*(KEY|TOKEN|SECRET|PASSWORD)\w*=.", example, re.MULTILINE)


def test_settings_are_those_of_the_example() -> None:
    used = set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    shown = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert shown - used == {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"}
    described = set(re.findall(r"`([A-Z_]+)", (ROOT / "docs" / "compose.md").read_text()))
    assert used - described == set()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_base_is_pinned_and_the_same_everywhere(name: str, compose: dict[str, Any]) -> None:
    base = re.findall(r"^ARG BASE=(\S+)$", (PARTS / name).read_text(), re.MULTILINE)
    assert len(base) == 1
    assert re.search(r"@sha256:[0-9a-f]{64}$", base[0])
    assert compose["x-base"] == f"${{BASE:-{base[0]}}}"
    for served in ("vllm", "student", "teacher"):
        assert re.search(r"@sha256:[0-9a-f]{64}}$", compose["services"][served]["image"])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_takes_nothing_of_the_host_and_is_not_root(name: str) -> None:
    *earlier, last = re.split(r"^FROM ", (PARTS / name).read_text(), flags=re.MULTILINE)
    assert any("docker/harness/host" in stage for stage in earlier)
    assert last.startswith("${BASE}\n")
    assert not re.search(r"host/|\.harness-build|ADD |ARG ", last)
    assert not SECRET.search(last)
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["harness"]
    own = [stage for stage in earlier[1:] if stage.startswith("${BASE}")]
    assert all("LABEL swe-harness.stage=build" in stage for stage in own)


def test_the_build_context_holds_what_images_are_made_of_and_no_settings(tmp_path: Path) -> None:
    wanted = {"pyproject.toml", "README.md", "harness/cli/app.py", "trainers/serving/app.py"}
    wanted |= {"manifests/flaky.yaml", "docker/harness/evaluate.py", "docker/harness/host/pip.conf"}
    others = {".env", "harness/.env", ".git/config", "runs/a/run.yaml", "docker/engine.sh"}
    wanted |= {"docker/openhands/lock.txt", "pi_extractors/base.py"}
    others |= {"harness/__pycache__/a.pyc", ".venv/bin/python", "tests/conftest.py"}
    for path in wanted | others:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    lines = [line for line in patterns if line and not line.startswith("#")]
    sent = {str(path) for path in exclude_paths(str(tmp_path), lines)}
    assert wanted <= sent
    assert not others & sent


@pytest.mark.parametrize(
    "path", [".env", "docker/harness/host/pip.conf", "docker/harness/host/env"]
)
def test_settings_of_a_machine_stay_out_of_git(path: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT)
    assert ignored.returncode == 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_requirements_of_the_images_are_those_of_the_project(name: str) -> None:
    script = [sys.executable, str(PARTS / "requirements.py")]
    text = (PARTS / name).read_text()
    extras = dict(re.findall(r'^ARG (EXTRAS)="(.+)"$', text, re.MULTILINE))
    (wanted,) = re.findall(r"requirements\.py (.+) >", text)
    wanted = wanted.replace("${EXTRAS}", extras.get("EXTRAS", ""))
    stated = subprocess.run(
        [*script, *wanted.split()], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {re.split(r"[^\w-]", line)[0] for line in stated}
    assert {"starlette", "uvicorn", "pydantic", "pyyaml"} <= names
    assert ("torch" in names) == (name == "Dockerfile.model")
    assert ("swebench" in names) == (name == "Dockerfile")
    refused = subprocess.run([*script, "nosuch"], cwd=ROOT, capture_output=True, text=True)
    assert (refused.returncode, "nosuch" in refused.stderr) == (1, True)


def test_settings_become_commands_that_the_harness_knows(
    part: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    evaluate = part("evaluate")
    settings = {
        "METHODS": "gold, noop",
        "SUITE": "pypi-mini/test",
        "INSTANCES": "keleshev__schema-90001",
        "SEEDS": "2",
        "WORKERS": "",
        "RUN_ID": "a-run",
        "PROFILE": str(PARTS / "cpu.yaml"),
        "EVAL_OPTIONS": "--early-exit --test-timeout 60",
    }
    chosen = ["--suite", "pypi-mini/test", "--instance", "keleshev__schema-90001"]
    assert evaluate.build_command(settings) == ["harness", "env", "build", *chosen]
    command = evaluate.eval_command(settings)
    assert shlex.join(command).endswith("--run-id a-run --early-exit --test-timeout 60")
    assert "--workers" not in command
    command[command.index("--runs") + 1] = str(tmp_path)
    result = CliRunner().invoke(app, [*command[1:], "--sandbox", "process", "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    assert '"a-run-noop"' in result.output
    assert '"compose-cpu"' in result.output


def test_the_profile_of_the_cpu_loads() -> None:
    profile = load_profile(str(PARTS / "cpu.yaml"))
    assert (profile.sandbox, profile.model.kind) == ("docker", "endpoint")
