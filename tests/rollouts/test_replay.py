"""A recorded run replayed: exactly, from a step, and where it cannot be."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.cli.errors import USER_ERRORS
from harness.records import RunFolder
from harness.rollouts.request import EvalRequest, run_request
from tests.real import real_instance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of mini-swe-agent that plays the gold patch of a real instance."""
    runs = tmp_path_factory.mktemp("recorded")
    request = EvalRequest(
        methods=("mini",),
        suite="pypi-mini/test",
        profile="rehearsal",
        seeds=(0,),
        runs=runs,
        command="-",
        instances=(real_instance("process").instance.instance_id,),
        sandbox="process",
        run_id="mini",
        use_cache=False,
    )
    run_request(request, dry_run=False)
    return RunFolder(runs / "mini")


def replay(run: Path, *options: object) -> tuple[int, dict[str, Any]]:
    """Exit code and the one attempt's summary."""
    name = real_instance("process").instance.instance_id
    arguments = ["replay", str(run), name, "--runs", str(run.parent), "--json"]
    done = CliRunner().invoke(app, [*arguments, *map(str, options)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    (one,) = json.loads(done.stdout)["replayed"]
    return done.exit_code, one


def test_exact_and_from_a_step(recorded: RunFolder) -> None:
    code, exact = replay(recorded.root)
    assert (code, exact["exact"], exact["held"]) == (0, True, True)
    assert exact["given"] == exact["recorded"]["turns"] == exact["replayed"]["turns"]
    assert exact["replayed"]["verdict"] == "resolved"
    assert not exact["differences"]
    code, live = replay(recorded.root, "--step", 2)
    assert (code, live["exact"], live["given"]) == (0, False, 1)
    assert live["same_patch"]
    made = next(recorded.root.parent.glob("replay-mini-*-step2"))
    assert RunFolder(made).report.is_file()
    assert json.loads(RunFolder(made).lock.read_text())["replay"]["step"] == 2


def test_a_changed_recording_diverges(recorded: RunFolder, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = tmp_path / "changed"
    shutil.copytree(recorded.root, run)
    (path,) = run.glob("attempts/*/0/calls.parquet")
    table = pq.read_table(path)
    requests = table["request"].to_pylist()
    requests[1] = requests[1].replace('"role":"system"', '"role":"System"')
    index = table.column_names.index("request")
    pq.write_table(table.set_column(index, "request", pa.array(requests)), path)
    code, one = replay(run)
    assert (code, one["held"]) == (1, False)
    assert "at turn 2: messages[0].role" in one["replayed"]["detail"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pi", "none"), "mini is shown no PI"),
        (("--model", "x"), "no model that --model"),
        (("--seed", 5), "the run's seeds are 0"),
        (("--run-id", "../x"), "--run-id"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    recorded: RunFolder, options: tuple[object, ...], said: str
) -> None:
    with pytest.raises(USER_ERRORS, match=said):
        replay(recorded.root, *options)


def test_an_exact_replay_ends_as_recorded(recorded: RunFolder, tmp_path: Path) -> None:
    """After as many turns, for the same reason; not only with the same patch."""
    run = tmp_path / "longer"
    shutil.copytree(recorded.root, run)
    (path,) = run.glob("attempts/*/0/attempt.json")
    attempt = json.loads(path.read_text())
    attempt["stop_reason"] = "turn_cap"
    path.write_text(json.dumps(attempt))
    code, one = replay(run)
    assert (code, one["held"], one["same_patch"], one["same_verdict"]) == (1, False, True, True)


@pytest.mark.parametrize("text", ["[]", "{"])
def test_a_damaged_lock_is_named(recorded: RunFolder, tmp_path: Path, text: str) -> None:
    run = tmp_path / "damaged"
    shutil.copytree(recorded.root, run)
    (run / "lock.json").write_text(text)
    with pytest.raises(USER_ERRORS, match="not a run's lock"):
        replay(run)


def test_another_image_is_refused(recorded: RunFolder, tmp_path: Path) -> None:
    run = tmp_path / "moved"
    shutil.copytree(recorded.root, run)
    lock = json.loads((run / "lock.json").read_text())
    lock["images"] = dict.fromkeys(lock["images"], "sha256:0")
    (run / "lock.json").write_text(json.dumps(lock))
    with pytest.raises(USER_ERRORS, match="ran in sha256:0"):
        replay(run)
