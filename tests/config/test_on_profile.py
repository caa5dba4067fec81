"""What a method says for a profile goes before what the profile says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import ConfigError, load_method, load_profile, on_profile
from harness.config.needs import ModelNeed
from harness.rollouts.request import EvalRequest, run_request

NEED = {
    "model": "Qwen/Qwen3-4B",
    "checkpoint": "trained",
    "parameters": 4_000_000_000,
    "layers": 36,
    "kv_heads": 8,
    "head_dim": 128,
    "context": 32_768,
    "attempts": 2,
    "serve": "vllm serve",
    "source": "its card",
}


def method(folder: Path, **change: object) -> str:
    path = folder / "own.yaml"
    whole = {"name": "own", "title": "t", "description": "d", "agent": {"kind": "mini"}} | change
    path.write_text(yaml.safe_dump(whole))
    return str(path)


def test_a_profile_s_own_settings_replace_the_method_s(tmp_path: Path) -> None:
    settings = {
        "agent": {"kind": "noop"},
        "decoding": {"temperature": 0},
        "suite": "pypi-mini/test",
    }
    path = method(tmp_path, profiles={"embedded": settings, "docker": {}})
    embedded = on_profile(load_method(path), load_profile("embedded"))
    assert (embedded.agent.kind, embedded.suite) == ("noop", "pypi-mini/test")
    assert embedded.decoding is not None
    assert embedded.decoding.temperature == 0
    docker = on_profile(load_method(path), load_profile("docker"))
    assert (docker.agent.kind, docker.suite, docker.decoding) == ("mini", None, None)


def test_a_method_for_some_profiles_refuses_the_others(tmp_path: Path) -> None:
    path = method(tmp_path, profiles={"docker": {}})
    with pytest.raises(ConfigError, match="not for the profile 'embedded': give one of docker"):
        on_profile(load_method(path), load_profile("embedded"))


def test_memory_is_weights_and_the_cache_of_all_attempts() -> None:
    need = ModelNeed.model_validate(NEED)
    assert need.weights_gib == pytest.approx(8e9 / 2**30)
    assert need.cache_gib == pytest.approx(2 * 36 * 8 * 128 * 2 * 32_768 * 2 / 2**30)


def dry_run(
    methods: tuple[str, ...], tmp_path: Path, suite: str | None = None, **more: Any
) -> dict[str, Any]:
    runs = tmp_path / "runs"
    request = EvalRequest(methods, suite, "embedded", (0,), runs, "harness eval", **more)
    found: dict[str, Any] = run_request(request, dry_run=True)["runs"][0]
    return found


def test_an_evaluation_takes_suite_and_model_from_the_method_and_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = method(
        tmp_path,
        needs_model=True,
        suite="pypi-mini/test",
        model={"kind": "embedded", "name": "mine"},
        needs=[NEED],
    )
    found = dry_run((path,), tmp_path)
    assert found["model"]["name"] == "mine"
    assert found["suite"]["reference"] == "pypi-mini/test"
    assert "own needs Qwen/Qwen3-4B: trained" in capsys.readouterr().err
    found = dry_run((path,), tmp_path, suite="pypi-mini/train")
    assert found["suite"]["reference"] == "pypi-mini/train"


def test_methods_for_different_suites_need_one_to_be_named(tmp_path: Path) -> None:
    path = method(tmp_path, suite="pypi-mini/test")
    with pytest.raises(ConfigError, match="choose one by --suite"):
        dry_run((path, "noop"), tmp_path)


def test_the_command_line_gives_adapter_and_agent_options(tmp_path: Path) -> None:
    path = method(tmp_path, needs_model=True, agent={"kind": "mini", "options": {"a": 1, "b": 2}})
    options = ("b=[3, 4]", "c=x=y")
    found = dry_run((path,), tmp_path, adapter=Path("trained/opd"), agent_options=options)
    assert found["model"]["adapter"] == "trained/opd"
    assert found["method"]["agent"]["options"] == {"a": 1, "b": [3, 4], "c": "x=y"}
    with pytest.raises(ConfigError, match="'bare': expected KEY=VALUE"):
        dry_run((path,), tmp_path, agent_options=("bare",))


def test_chop_deployable_is_a_small_student_here_and_says_what_it_needs_elsewhere() -> None:
    method = load_method("chop-deployable")
    embedded = on_profile(method, load_profile("embedded"))
    assert embedded.model is not None
    assert embedded.model.adapter == Path("chop-deployable")
    assert embedded.suite == "pypi-edits/test"
    (need,) = on_profile(method, load_profile("docker")).needs
    assert need.weights_gib == pytest.approx(7.49, abs=0.01)
    assert "vllm serve Qwen/Qwen3-4B --enable-lora" in need.text
