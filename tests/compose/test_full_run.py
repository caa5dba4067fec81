"""The full run as a compose project: what its services share with the manifest."""

import re
from pathlib import Path
from typing import Any

from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import expand
from tests.compose.conftest import ROOT

MANIFEST = ROOT / "manifests" / "pipelines" / "full.yaml"
DEFAULT = re.compile(r"\$\{\w+:?-([^}]*)\}")


def settled(text: str) -> str:
    """A text of the compose file with the defaults of its variables."""
    return DEFAULT.sub(r"\1", text)


def mounts(service: dict[str, Any]) -> dict[str, str]:
    binds = (settled(bind).split(":") for bind in service["volumes"])
    return {parts[1]: parts[0] for parts in binds}


def test_the_models_served_are_those_of_the_manifest(compose: dict[str, Any]) -> None:
    values = load_pipeline(MANIFEST).values
    for name in ("student", "teacher"):
        service = compose["services"][name]
        assert settled(service["command"]).startswith(f"--model {values[name]} ")
        assert values[f"{name}_url"] == f"http://{name}:8000/v1"


def test_gpus_are_shared_out_as_the_plan_assumes(compose: dict[str, Any]) -> None:
    assumed = load_pipeline(MANIFEST).assumptions
    used: list[str] = []
    for name in ("student", "teacher", "trainer"):
        service = compose["services"][name]
        gpus = settled(service["environment"]["CUDA_VISIBLE_DEVICES"]).split(",")
        assert len(gpus) == assumed[f"{name}_gpus"].value
        used += gpus
    assert len(set(used)) == len(used) == assumed["node_gpus"].value
    for name in ("student", "teacher"):
        (copies,) = re.findall(
            r"--data-parallel-size (\d+) --api-server-count 1",
            settled(compose["services"][name]["command"]),
        )
        assert int(copies) == assumed[f"{name}_gpus"].value
    assert load_pipeline(MANIFEST).values["processes"] == assumed["trainer_gpus"].value


def test_adapters_are_served_from_where_they_are_trained(compose: dict[str, Any]) -> None:
    trained = mounts(compose["services"]["trainer"])
    out = settled(compose["services"]["trainer"]["command"]).split("--out ")[1].strip()
    for name in ("student", "teacher"):
        service = compose["services"][name]
        assert mounts(service)["/runs"] == trained["/runs"]
        assert service["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
        assert "--enable-lora" in service["command"]
    jobs = expand(load_pipeline(MANIFEST), MANIFEST, Path(out))
    loaded = {
        job.command[job.command.index("--adapter") + 1]
        for job in jobs
        if "--adapter" in job.command
    }
    made = {str(path) for job in jobs for path in job.makes}
    assert loaded <= made
    assert all(path.startswith("/runs/") for path in loaded)


def test_every_training_has_as_many_processes_as_gpus() -> None:
    jobs = expand(load_pipeline(MANIFEST), MANIFEST, Path("out"))
    for job in jobs:
        if job.command[1] == "train":
            assert job.command[job.command.index("--processes") + 1] == "4"
        if job.command[1] == "eval":
            assert "HARNESS_BASE_URL" in job.env
            assert "ray" in job.command


def test_the_trainer_has_what_the_pipeline_runs(compose: dict[str, Any]) -> None:
    arguments = compose["services"]["trainer"]["build"]["args"]
    assert arguments["EXTRAS"].split() == ["agents", "train", "cluster"]
    assert settled(arguments["TORCH"]).startswith("torch==")
    assert compose["services"]["trainer"]["image"] == "swe-harness-compose/trainer"
