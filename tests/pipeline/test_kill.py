"""A pipeline that is killed in every stage and continued ends as one that was left alone."""

from pathlib import Path

import yaml

from benchmarks.full_run import compare, firsts, kill, start
from harness.pipeline.load import load_pipeline
from harness.pipeline.manifest import expand

# A command that continues its own work, as those of the harness do: a line for each of six steps.
STEPS = """
import hashlib, pathlib, sys, time
made, *read = map(pathlib.Path, sys.argv[1:])
draft = made.with_suffix(".part")
made.parent.mkdir(parents=True, exist_ok=True)
before = b"".join(path.read_bytes() for path in read)
for step in range(len(draft.read_text().splitlines()) if draft.exists() else 0, 6):
    time.sleep(0.1)
    with draft.open("a") as file:
        file.write(hashlib.sha256(before + bytes([step])).hexdigest() + "\\n")
draft.replace(made)
"""


def manifest(folder: Path) -> Path:
    def stage(name: str, makes: str, needs: list[str], reads: list[str]) -> dict[str, object]:
        run = ["python", "-c", STEPS, makes, *reads]
        return {"name": name, "needs": needs, "run": run, "makes": [makes]}

    data = "{out}/filtered/kept"
    train = stage("train", "{out}/students/{seed}/final/weights", ["data"], [data])
    stages = [
        stage("data", data, [], []),
        train | {"each": {"seed": [0, 1]}},
        stage("table", "{out}/table.json", ["train"], ["{out}/students/1/final/weights", data]),
    ]
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump({"name": "p", "title": "t", "stages": stages}))
    return path


def test_killed_in_every_stage_it_ends_the_same(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert start([str(path)], run).wait() == 0
    run.rename(whole)
    jobs = firsts(expand(load_pipeline(path), path, run), ())
    kills = [kill([str(path)], job, 0.6, run, whole) for job in jobs]
    assert [one["job"] for one in kills] == ["data", "train-0", "table"]
    assert [one["was_done"] for one in kills] == [False] * 3
    assert [one["complete_before"] for one in kills] == [0, 1, 3]
    assert start([str(path)], run).wait() == 0
    assert compare(whole, run) == {"same": 4, "clock_alone": [], "different": {}}
    (run / "filtered/kept").write_text("another")
    assert list(compare(whole, run)["different"]) == ["filtered/kept"]
