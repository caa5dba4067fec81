import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from harness.config import ConfigError
from harness.config.load import parse_yaml
from harness.pipeline.experiment import Experiment, load_policies, results
from harness.pipeline.experiment_page import write_experiment
from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import expand
from harness.records import Verdict
from harness.suites.manifests import manifests_root
from tests.reports.report_builder import RunBuilder, make_instances

COUNT = 40


def run(root: Path, name: str, resolved: range, *, score: bool = True) -> None:
    build = RunBuilder(root / "runs" / name, name, make_instances(COUNT))
    for number, instance in enumerate(build.instances):
        build.attempt(instance)
        verdict = Verdict.RESOLVED if number in resolved else Verdict.UNRESOLVED
        build.grade(instance, verdict=verdict)
    if score:
        build.score()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    run(tmp_path, "base", range(4))
    run(tmp_path, "teacher", range(24))
    run(tmp_path, "opd-0", range(12))
    run(tmp_path, "opd-1", range(16))
    (tmp_path / "d.json").write_text(json.dumps({"deciles": [{"decile": 1, "states": 7}], "x": 1}))
    (tmp_path / "d.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return tmp_path


def experiment(**change: Any) -> Experiment:
    whole = {
        "name": "e",
        "title": "An <b>experiment</b>",
        "question": "Does it help?",
        "baseline": "untrained",
        "reference": "teacher",
        "policies": [
            {"name": "untrained", "what": "the start", "runs": ["runs/base"]},
            {"name": "teacher", "what": "larger", "runs": ["runs/teacher"]},
            {"name": "OPD", "what": "reverse KL", "runs": ["runs/opd-*"]},
        ],
        "comparisons": [["teacher", "OPD"]],
    }
    return Experiment.model_validate(whole | change)


def test_runs_of_a_policy_are_averaged_within_an_instance(root: Path) -> None:
    whole = experiment()
    found = results(whole, load_policies(whole, root))
    rows = {row["policy"]: row for row in found["pass_at_1"]}
    assert rows["OPD"]["pass@1"]["value"] == pytest.approx(14 / COUNT)
    assert rows["OPD"]["by_run"] == ["30.0%", "40.0%"]
    assert (rows["OPD"]["attempts"], rows["OPD"]["instances"]) == (2 * COUNT, COUNT)


def test_the_gap_s_share_is_that_of_the_means(root: Path) -> None:
    whole = experiment()
    (row,) = results(whole, load_policies(whole, root))["gap_recovery"]
    assert row["policy"] == "OPD"
    assert row["share of the gap"] == pytest.approx((14 - 4) / (24 - 4))


def test_a_gap_that_may_be_none_has_no_bound(root: Path) -> None:
    whole = experiment(reference="OPD")
    run(root, "base", range(5, 18))
    (row,) = results(whole, load_policies(whole, root))["gap_recovery"]
    assert row["95% interval"] == "no bound: the gap itself may be 0"


def test_all_comparisons_are_one_family(root: Path) -> None:
    whole = experiment()
    found = results(whole, load_policies(whole, root))["differences"]
    assert [row["pair"] for row in found] == [
        "teacher − untrained",
        "OPD − untrained",
        "OPD − teacher",
    ]
    alone = experiment(comparisons=[])
    fewer = results(alone, load_policies(alone, root))["differences"]
    assert found[0]["p exact (Holm)"] == pytest.approx(1.5 * fewer[0]["p exact (Holm)"])


def test_the_page_shows_attachments_and_escapes(root: Path) -> None:
    attachment = {
        "title": "Deciles",
        "file": "d.json",
        "keys": ["deciles"],
        "images": {"A curve": "d.svg"},
    }
    page = write_experiment(experiment(attachments=[attachment]), root, root / "report")
    text = page.read_text()
    assert "An &lt;b&gt;experiment&lt;/b&gt;" in text
    assert "data:image/svg+xml;base64," in text
    data = json.loads((root / "report/experiment.json").read_text())
    assert data["Deciles"] == {"deciles": [{"decile": 1, "states": 7}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attachments": [{"title": "D", "file": "none.json"}]}, "attachment 'D'"),
        ({"attachments": [{"title": "D", "file": "d.json", "keys": ["y"]}]}, "has no 'y'"),
    ],
)
def test_what_is_not_there_is_named(root: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        write_experiment(experiment(**change), root, root / "report")


def test_a_policy_without_runs_is_named(root: Path) -> None:
    run(root, "half", range(2), score=False)
    policies = [*experiment().model_dump()["policies"]]
    for runs, words in (["runs/none-*"], "no run"), (["runs/half"], "is not finished"):
        added = {"name": "new", "what": "w", "runs": runs}
        whole = experiment(policies=[*policies, added])
        with pytest.raises(ConfigError, match=f"policy 'new'.*{words}"):
            load_policies(whole, root)


def test_names_have_to_be_policies() -> None:
    with pytest.raises(ValueError, match="'SFT' is 0 times among the policies"):
        experiment(baseline="SFT")


def test_the_shipped_pipeline_and_its_report_can_be_read() -> None:
    folder = manifests_root() / "pipelines"
    jobs = expand(load_pipeline(folder / "embedded.yaml"), folder / "embedded.yaml", Path("out"))
    made = [str(path) for job in jobs for path in job.makes]
    report = parse_yaml(folder / "embedded" / "report.yaml", Experiment)
    for policy in report.policies:
        assert any(fnmatch(path, f"out/{policy.runs[0]}") for path in made), policy
    assert all(path.is_file() for job in jobs for path in job.reads)
