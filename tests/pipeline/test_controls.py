"""Control experiments: from one manifest to runs, and to one report."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config import ConfigError
from harness.pipeline.controls import Controls, load_controls, pipeline_of
from harness.pipeline.controls_report import write_controls
from harness.pipeline.manifest import Job, expand
from harness.suites.manifests import manifests_root
from tests.pipeline.test_experiment import COUNT, run

MANIFEST = Path("m.yaml")


def controls(**change: Any) -> Controls:
    whole: dict[str, Any] = {
        "name": "c",
        "title": "Controls",
        "question": "Why?",
        "values": {"seeds": [0, 1], "base": "pipelines/base", "steps": 5},
        "commands": {
            "chop": ["harness", "train", "out={out}/students/{arm}", "seed={seed}"],
            "test": ["harness", "eval", "--run-id", "{arm}"],
        },
        "prepare": [
            {"name": "deep", "run": ["true"], "makes": ["{out}/deep"]},
            {"name": "contexts", "needs": ["deep"], "run": ["true"], "makes": ["{out}/c"]},
            {"name": "unused", "run": ["true"], "makes": ["{out}/u"]},
        ],
        "arms": [
            {"name": "full", "what": "the method", "runs": ["{base}/runs/full-*"]},
            {
                "name": "shuffled",
                "what": "wrong content",
                "needs": ["contexts"],
                "train": ["chop", "--set", "x={out}/c"],
                "test": ["test"],
            },
            {"name": "teacher", "what": "alone", "test": ["test", "--adapter", "{base}/a"]},
        ],
        "tables": [
            {
                "title": "Content",
                "reference": "full",
                "rows": [
                    {"arm": "full", "paper": 14.2},
                    {"arm": "shuffled", "paper": 7.6, "takeaway": "content <matters>"},
                    {"arm": "teacher"},
                ],
            }
        ],
    }
    return Controls.model_validate(whole | change)


def jobs(given: Controls, out: Path, only: tuple[str, ...] = ()) -> dict[str, Job]:
    return {one.name: one for one in expand(pipeline_of(given, only), MANIFEST, out)}


def test_an_arm_becomes_a_training_and_a_test_for_each_seed(tmp_path: Path) -> None:
    found = jobs(controls(), tmp_path)
    assert list(found) == [
        "deep",
        "contexts",
        *(f"{kind}-shuffled-{seed}" for kind in ("train", "test") for seed in (0, 1)),
        "test-teacher",
    ]
    train, test = found["train-shuffled-1"], found["test-shuffled-1"]
    folder = tmp_path / "students" / "shuffled-1"
    assert train.command[2:] == (f"out={folder}", "seed=1", "--set", f"x={tmp_path}/c")
    assert train.needs == ("contexts",)
    assert train.makes == (folder / "final",)
    assert test.command == ("harness", "eval", "--run-id", "shuffled-1")
    assert test.needs == ("train-shuffled-1",)
    assert found["test-teacher"].command[-1] == "pipelines/base/a"


def test_some_arms_need_only_what_is_theirs(tmp_path: Path) -> None:
    assert list(jobs(controls(), tmp_path, ("teacher",))) == ["test-teacher"]
    with pytest.raises(ConfigError, match="no arm 'x': one of full, shuffled, teacher"):
        pipeline_of(controls(), ("x",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": [{"name": "full", "what": ""}]}, "give `runs` that are there, or how to `test`"),
        ({"arms": [{"name": "full", "what": "", "test": ["x"]}]}, "'x' is none of the commands"),
        ({"tables": [{"title": "", "reference": "a", "rows": [{"arm": "a"}]}]}, "'a' is 0 times"),
    ],
)
def test_a_manifest_that_makes_no_sense(change: dict[str, Any], message: str) -> None:
    part = {"tables": [{"title": "", "reference": "full", "rows": [{"arm": "full"}]}]}
    with pytest.raises(ValueError, match=message):
        controls(**(part | change))


def test_the_report_compares_what_is_finished(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    run(base, "full-0", range(20))
    run(base, "full-1", range(20))
    run(out, "shuffled-0", range(4))
    run(out, "shuffled-1", range(6), score=False)
    student = out / "students" / "shuffled-0"
    student.mkdir(parents=True)
    lines = [{"step": n, "teacher_tokens": 10.0, "seconds": 2.0} for n in (1, 2, 3)]
    (student / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    given = controls(values={"seeds": [0, 1], "base": str(base), "steps": 5})
    page = write_controls(given, list(jobs(given, out).values()), out / "report")
    found = json.loads((out / "report" / "controls.json").read_text())
    assert found["family"] == 1
    full, shuffled, teacher = found["tables"][0]["rows"]
    assert (full["shown"], teacher["shown"]) == ("reference", "not run")
    assert [one["paper"] for one in (full, shuffled, teacher)] == ["14.2", "7.6 (-6.6)", ""]
    assert full["resolve"]["value"] == 20 / COUNT
    assert shuffled["difference"]["value"] == pytest.approx(-16 / COUNT)
    assert shuffled["better / worse / tied"] == f"0 / 16 / {COUNT - 16}"
    assert shuffled["shown"] is True
    assert shuffled["p exact (Holm)"] == pytest.approx(2 * 0.5**16)
    arm = found["arms"][1]
    assert (arm["runs"], arm["attempts"], arm["resolved"]) == ("1 of 2", COUNT, 4)
    assert (arm["updates"], arm["teacher tokens"], arm["seconds"]) == (3, 30, 6)
    text = page.read_text()
    assert "content &lt;matters&gt;" in text
    assert "base/runs/full-1/scores.json" in text


def test_the_shipped_controls_expand(tmp_path: Path) -> None:
    path = manifests_root() / "pipelines" / "controls.yaml"
    given = load_controls(path, ["seeds=[0, 1]"])
    found = expand(pipeline_of(given), path, tmp_path)
    assert sum(job.stage == "test-shuffled-pi" for job in found) == 2
    assert all(one.exists() for job in found for one in job.reads if "manifests" in str(one))
    with pytest.raises(ConfigError, match=r"a key of .*base, suite"):
        load_controls(path, ["nothing=1"])
