import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from harness.config import ConfigError
from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import expand
from harness.pipeline.plan import plan_rows
from harness.pipeline.run import PipelineError, run_pipeline

COUNT = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); t = p.with_suffix('.count'); "
COUNT += "t.write_text(t.read_text() + 'x' if t.exists() else 'x'); p.write_text(sys.argv[2])"


def manifest(folder: Path, **change: object) -> Path:
    stages = [
        {
            "name": "data",
            "run": ["python", "-c", COUNT, "{out}/data.txt", "{text}"],
            "makes": ["{out}/data.txt"],
            "reads": ["{here}/settings.txt"],
            "cpu_minutes": 1,
        },
        {
            "name": "train",
            "each": {"method": ["opd", "chop"], "seed": "seeds"},
            "needs": ["data"],
            "run": ["python", "-c", COUNT, "{out}/{method}-{seed}.txt", "{method}"],
            "makes": ["{out}/{method}-{seed}.txt"],
        },
        {
            "name": "score",
            "each": {"method": ["opd", "chop"]},
            "needs": ["train"],
            "run": ["python", "-c", COUNT, "{out}/{method}.score", "1"],
            "makes": ["{out}/{method}.score"],
        },
    ]
    pipeline = {"name": "p", "title": "t", "values": {"text": "a", "seeds": [0, 1]}}
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline | {"stages": stages} | change))
    (folder / "settings.txt").write_text("1")
    return path


def run(path: Path, *changes: str, **options: object) -> Path:
    out = path.parent / "out"
    jobs = expand(load_pipeline(path, changes), path, out)
    console = Console(stderr=True, soft_wrap=True)
    run_pipeline(jobs, out, at_a_time=2, console=console, **options)  # type: ignore[arg-type]
    return out


def runs_of(out: Path, name: str) -> int:
    return len((out / f"{name}.count").read_text())


def test_a_stage_runs_for_each_combination_after_those_of_the_same_values(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    jobs = {job.name: job for job in expand(load_pipeline(path), path, tmp_path / "out")}
    assert list(jobs)[:3] == ["data", "train-opd-0", "train-opd-1"]
    assert jobs["score-chop"].needs == ("train-chop-0", "train-chop-1")
    assert jobs["train-chop-1"].command[-1] == "chop"


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    run(path)
    out = run(path)
    assert [runs_of(out, name) for name in ("data", "opd-0", "chop-1")] == [1, 1, 1]
    rows = plan_rows(expand(load_pipeline(path), path, out), out)
    assert {row["standing"] for row in rows} == {"done"}


def test_a_changed_command_is_refused_and_named(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    run(path)
    with pytest.raises(PipelineError, match=r"data was done, but its command was .* --redo data"):
        run(path, "text=b")


def test_a_changed_file_is_refused_and_named(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    run(path)
    (tmp_path / "settings.txt").write_text("2")
    with pytest.raises(PipelineError, match=r"settings\.txt has changed"):
        run(path)


def test_redo_puts_results_aside_with_all_that_followed(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    run(path)
    out = run(path, "text=b", redo=["data"])
    assert (out / "data.txt").read_text() == "b"
    assert (out / "replaced/data.1/data.txt").read_text() == "a"
    assert (out / "replaced/score-opd.1/opd.score").exists()
    assert runs_of(out, "opd-0") == 2


def test_a_job_before_that_ran_again_changes_those_after_it(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    out = run(path)
    (out / "data.txt").unlink()
    with pytest.raises(PipelineError, match="train-opd-0 was done, but data, which it needs"):
        run(path)


def test_a_failing_job_names_its_log_and_the_next_run_goes_on(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["stages"][2]["run"] = ["python", "-c", "raise SystemExit('no disk left')"]
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(
        PipelineError, match=r"(?s)score-opd ended with 1.*logs/score-opd.log.*no disk"
    ):
        run(path)
    data["stages"][2]["run"] = ["python", "-c", "raise SystemExit('no memory left')"]
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(PipelineError, match="no memory left") as error:
        run(path)
    assert "no disk" not in str(error.value)
    out = run(manifest(tmp_path))
    assert runs_of(out, "data") == 1
    assert (out / "chop.score").exists()


def test_a_job_that_makes_nothing_failed(tmp_path: Path) -> None:
    stage = {"name": "a", "run": ["python", "-c", ""], "makes": ["{out}/there"]}
    with pytest.raises(PipelineError, match=r"a did not make .*there"):
        run(manifest(tmp_path, stages=[stage]))


def test_a_stage_alone_needs_what_is_before_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="train-opd-0 needs data, which is not done"):
        run(manifest(tmp_path), only=["train"])


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"needs": ["b"]}, "needs 'b', no stage before it"),
        ({"run": ["echo", "{what}"]}, "asks for 'what'"),
        ({"makes": ["{out}/../x"]}, "not below"),
        ({"each": {"k": "text"}}, "give a list"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, stage: dict[str, object], words: str) -> None:
    whole = {"name": "a", "run": ["echo"], "makes": ["{out}/x"]} | stage
    with pytest.raises(ConfigError, match=words):
        run(manifest(tmp_path, stages=[whole]))


def test_an_unknown_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'txt=b': expected KEY=VALUE with a key of"):
        run(manifest(tmp_path), "txt=b")


def test_a_killed_pipeline_takes_its_jobs_along_and_continues(tmp_path: Path) -> None:
    slow = "import sys, time, os; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    first = {"name": "a", "run": ["python", "-c", COUNT, "{out}/a", "1"], "makes": ["{out}/a"]}
    second = {
        "name": "b",
        "needs": ["a"],
        "run": ["python", "-c", slow, "{out}/pid"],
        "makes": ["{out}/b"],
    }
    path = manifest(tmp_path, stages=[first, second])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "harness", "pipeline", str(path), "--out", str(out)]
    process = subprocess.Popen(command)
    pid = _read(out / "pid")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _gone(pid)
    second["run"] = ["python", "-c", COUNT, "{out}/b", "1"]
    manifest(tmp_path, stages=[first, second])
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert [row["standing"] for row in json.loads(done.stdout)] == ["done", "done"]
    assert runs_of(out, "a") == 1


def _read(path: Path) -> int:
    for _ in range(600):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"no {path}")


def _gone(pid: int) -> None:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} lives on")
