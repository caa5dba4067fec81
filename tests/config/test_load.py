"""Manifests are read strictly, with hints."""

from pathlib import Path

import pytest

from harness.config import (
    ConfigError,
    ModelConfig,
    load_method,
    load_profile,
    method_names,
    profile_names,
)


def test_every_shipped_manifest_loads() -> None:
    assert {"gold", "noop", "replay", "mini"} <= set(method_names())
    for name in method_names():
        assert load_method(name).name == name
    for name in profile_names():
        assert load_profile(name).name == name


def test_the_paper_s_budget_is_the_default() -> None:
    profile = load_profile("docker")
    assert (profile.budget.turns, profile.budget.wall_clock_seconds) == (50, 600.0)
    assert profile.budget.tool_calls_per_turn == 50
    assert (profile.decoding.temperature, profile.decoding.top_p) == (0.7, 0.95)


def test_an_adapter_is_for_a_model() -> None:
    adapter = Path("adapters/one")
    for kind in ("embedded", "endpoint"):
        assert ModelConfig(kind=kind, name="base", adapter=adapter).adapter == adapter
    with pytest.raises(ValueError, match="a rehearsal has no model"):
        ModelConfig(kind="rehearsal", adapter=adapter)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("glod", "did you mean 'gold'"),
        ("zzz", r"shipped: chop-deployable"),
        ("no/such.yaml", "does not exist"),
    ],
)
def test_an_unknown_method_names_the_nearest(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_method(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "name: x\ntitle: t\ndescription: d\nagent: {kind: gold}\nbudgt: {}",
            "did you mean 'budget'",
        ),
        (
            "name: x\ntitle: t\ndescription: d\nagent: {kind: gold}\nbudget: {turn: 3}",
            r"unknown key 'budget\.turn'; did you mean 'turns'",
        ),
        (
            "name: x\ntitle: t\ndescription: d\nagent: {kind: gold}\nbudget: {turns: 0}",
            "budget.turns",
        ),
        ("- a", "expected keys and values, found list"),
        ("a: [", "cannot be read as YAML"),
        ("!!python/object/apply:os.system [id]", "cannot be read as YAML"),
    ],
)
def test_a_bad_file_is_named_with_key_and_hint(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_method(str(path))
    assert str(path) in str(caught.value)
