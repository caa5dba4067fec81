"""The audit on a clean run of the whole pipeline, and with six planted leaks, each on its own.

    python -m benchmarks.leakage_audit [--keep FOLDER]

Everything is made by the project's own commands on instances of pypi-mini with canaries in every
oracle field: the filter, PI, a teacher's run (a script that plays gold patches), training rows, a
student's run (a script that looks around and gives up), runs of two teachers, the image linter.
Prints one JSON object and exits with 1 when a plant is missed or the clean audit does not pass.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness.leakage.audit import audit
from harness.leakage.findings import Audit, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.report import headline, write_audit
from harness.suites.load import load_suite

EVALUATED = ("pallets__itsdangerous-90001", "pallets__itsdangerous-90002")
TRAINED = ("tkem__cachetools-90001", "tkem__cachetools-90002", "pytoolz__toolz-90001")
_SEED = "5eed" * 16
_STUDENT = ("cd /testbed && git log --oneline -1 && ls", "cat /testbed/README*", "git status")
_SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_PROFILE = """\
schema_version: 1
name: scripted
description: A script in place of a model.
sandbox: process
model: {kind: endpoint}
workers: 2
"""


@dataclass(frozen=True)
class Plant:
    """A leak: the check that must name it, a part of the name, and how it is planted."""

    check: str
    says: str
    plant: Callable[[Path, AuditInputs], AuditInputs]


def main() -> None:
    """Prepare, audit, plant, audit again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="Keep everything in this new folder.")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as folder:
        results = run(keep or Path(folder))
    print(json.dumps(results, indent=1))
    sys.exit(0 if all(one["as_expected"] for one in results.values()) else 1)


def run(folder: Path) -> dict[str, dict[str, Any]]:
    """What the audit says, by plant; `clean` without one."""
    inputs = prepare(folder)
    clean = _audit(folder, "clean", inputs)
    ran = [one.name for one in clean.checks if one.status is Status.PASSED]
    wanted = {one.check for one in PLANTS.values()}
    results = {"clean": {"as_expected": clean.passed and wanted <= set(ran), **_said(clean)}}
    quicker = inputs.model_copy(update={"containers": None})  # no plant is in a sandbox
    for name, one in PLANTS.items():
        found = _audit(folder, name, one.plant(folder, quicker))
        leaks = [
            finding.title
            for check in found.checks
            if check.name == one.check and check.status is Status.FAILED
            for finding in check.findings
            if finding.severity is Severity.LEAK
        ]
        named = any(one.says in title for title in leaks)
        results[name] = {"as_expected": named and not found.passed, **_said(found)}
    return results


def prepare(folder: Path) -> AuditInputs:
    """A clean run of the pipeline, as inputs of an audit."""
    folder.mkdir(parents=True, exist_ok=True)
    _harness(folder, "leakage", "plant", "pypi-mini", "--out", "planted", "--seed", _SEED)
    planted = {
        one.instance_id: one for one in load_suite(_at(folder, "planted/instances.jsonl")).instances
    }
    for name, ids in (("evaluation", EVALUATED), ("train", TRAINED)):
        rows = [planted[one].model_dump_json(exclude_none=True) for one in ids]
        (folder / f"{name}.jsonl").write_text("".join(f"{row}\n" for row in rows))
    _harness(folder, "env", "build", *_originals(), "--sandbox", "process")
    _mirrors(folder)
    suites = ("--train", "train.jsonl", "-e", "evaluation.jsonl")
    _harness(folder, "leakage", "filter", *suites, "--out", "filtered")
    kept = ("-s", "filtered/kept.jsonl")
    sources = ("--source", "gold_patch", "--source", "test_manifest")
    _harness(folder, "pi", "extract", *kept, *sources, "--repos", "mirrors", "--out", "pi.jsonl")
    _harness(folder, "eval", "-m", "mini", *kept, "-p", "rehearsal", "--run-id", "teacher")
    rows_of = ("--pi", "pi.jsonl", "--filter", "filtered/filter.json", "--repos", "mirrors")
    _harness(folder, "datagen", "triples", "runs/teacher", *rows_of, "--out", "triples")
    evaluation = ("-s", "evaluation.jsonl")
    _student(folder, "student", *evaluation)
    for name, method in (("base", "noop"), ("removed", "noop"), ("leaking", "gold")):
        _harness(folder, "eval", "-m", method, *evaluation, "-p", "embedded", "--run-id", name)
    lint = _harness(folder, "env", "lint", *evaluation, "--sandbox", "process", "--json")
    (folder / "lint.json").write_text(lint)
    return AuditInputs(
        evaluation=_at(folder, "evaluation.jsonl"),
        train=_at(folder, "train.jsonl"),
        filter_manifest=folder / "filtered" / "filter.json",
        pi=(folder / "pi.jsonl",),
        triples=tuple(sorted((folder / "triples").rglob("*.parquet"))),
        runs=(folder / "runs" / "student",),
        teacher_runs={"base": folder / "runs" / "base", "pi_removed": folder / "runs" / "removed"},
        ledger=folder / "planted" / "ledger.json",
        containers=1,
        lint=folder / "lint.json",
    )


def commit_of_evaluation(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """A training instance at an evaluation instance's base commit, among the kept rows."""
    evaluated = load_suite(inputs.evaluation).instances[0]
    row = (
        load_suite(_at(folder, "train.jsonl"))
        .instances[0]
        .model_copy(update={"instance_id": "planted__row-1", "base_commit": evaluated.base_commit})
    )
    path = folder / "with-evaluation-commit.jsonl"
    kept = (folder / "filtered" / "kept.jsonl").read_text()
    path.write_text(f"{row.model_dump_json(exclude_none=True)}\n{kept}")
    return inputs.model_copy(update={"train": str(path)})


def oracle_in_prompt(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """A student whose task has the gold patch below the issue."""
    rows = [
        one.model_copy(
            update={"problem_statement": f"{one.problem_statement}\n\nA hint:\n\n{one.patch}"}
        )
        for one in load_suite(inputs.evaluation).instances
    ]
    path = folder / "with-hints.jsonl"
    path.write_text("".join(f"{one.model_dump_json(exclude_none=True)}\n" for one in rows))
    _student(folder, "hinted", "-s", path.name)
    return inputs.model_copy(update={"runs": (folder / "runs" / "hinted",)})


def fixed_copy(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """An image with a copy of the package in which the issue is fixed."""
    from harness.environments.lint.lint import lint_image
    from harness.records.cache import cache_root

    assert inputs.lint
    lint = json.loads(inputs.lint.read_text())
    one = next(each for each in load_suite(inputs.evaluation).instances)
    report = next(each for each in lint["reports"] if each["instance_id"] == one.instance_id)
    image = folder / "images" / Path(report["image"]).name
    shutil.copytree(cache_root() / "images" / Path(report["image"]).name, image, symlinks=True)
    (folder / "environments").symlink_to(cache_root() / "environments")
    copy = image / "testbed" / "build" / "lib"
    copy.mkdir(parents=True)
    fixed = "".join(
        line[1:]
        for line in one.patch.splitlines(keepends=True)
        if line[0] in " +" and not line.startswith("+++ ")
    )
    (copy / "fixed.py").write_text(fixed)
    looked = lint_image(one, str(image), "process", cache=folder / "cache")
    lint["reports"] = [
        json.loads(looked.model_dump_json()) if each is report else each for each in lint["reports"]
    ]
    path = folder / "lint-with-copy.json"
    path.write_text(json.dumps(lint))
    return inputs.model_copy(update={"lint": path})


def oracle_in_deployable_rows(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """Training rows whose deployable PI has the gold patch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    patches = {
        one.instance_id: one.patch for one in load_suite(_at(folder, "train.jsonl")).instances
    }
    leaking = []
    for number, path in enumerate(inputs.triples):
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            if row["pi_tier"] == "deployable" and row["pi_text"]:
                row["pi_text"] += f"\n{patches[row['instance_id']]}"
        leaking.append(folder / f"leaking-{number}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), leaking[-1])
    return inputs.model_copy(update={"triples": tuple(leaking)})


def future_commit_read(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """A trajectory in which git shows a commit later than the instance."""
    run = folder / "runs" / "reads-the-future"
    shutil.copytree(inputs.runs[0], run)
    path = sorted(run.glob("attempts/*/*/events.jsonl"))[0]
    output = f"commit {'8f2d6c1b' * 5}\nDate:   Fri Jan 1 12:00:00 2038 +0000\n\n    Fix it\n"
    lines = path.read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if json.loads(line)["kind"] == "observation")
    event = {"step": 1, "seconds": 1.0}
    planted = (
        event | {"kind": "action", "text": "git log --all -p"},
        event | {"kind": "observation", "text": output, "data": {"returncode": 0}},
    )
    lines[place + 1 : place + 1] = [json.dumps(one) for one in planted]
    path.write_text("\n".join(lines) + "\n")
    return inputs.model_copy(update={"runs": (run,)})


def teacher_gains(folder: Path, inputs: AuditInputs) -> AuditInputs:
    """A PI-removed teacher that resolves what its base does not."""
    runs = inputs.teacher_runs | {"pi_removed": folder / "runs" / "leaking"}
    return inputs.model_copy(update={"teacher_runs": runs})


PLANTS = {
    "evaluation commit in training": Plant("filter", "base commit", commit_of_evaluation),
    "oracle field in a prompt": Plant("canaries", "reached prompt", oracle_in_prompt),
    "fixed copy in an image": Plant("image_lint", EVALUATED[0], fixed_copy),
    "oracle text in deployable rows": Plant(
        "pi_provenance", "hold the instance's gold patch", oracle_in_deployable_rows
    ),
    "future commit read": Plant("conduct", "future_commits", future_commit_read),
    "teacher gains without PI": Plant("pi_removed_teacher", "gains 100.0 points", teacher_gains),
}


def _audit(folder: Path, name: str, inputs: AuditInputs) -> Audit:
    result = audit(inputs, lambda text: print(f"{name}: {text}", file=sys.stderr))
    write_audit(result, folder / "audits" / name.replace(" ", "-"), title=f"Leakage audit: {name}")
    return result


def _said(result: Audit) -> dict[str, Any]:
    failed = (Status.FAILED, Status.ERROR)
    return {
        "headline": headline(result),
        "failed": {
            one.name: [each.title for each in one.findings if each.severity is Severity.LEAK][:3]
            or one.reason
            for one in result.checks
            if one.status in failed
        },
    }


def _originals() -> list[str]:
    """The instances as they ship: images are built from rows without canaries."""
    return ["-s", "pypi-mini", *(part for one in EVALUATED + TRAINED for part in ("-i", one))]


def _mirrors(folder: Path) -> None:
    """Repositories with the base commits of the training instances, from their images."""
    from harness.environments.images import present_images

    trained = [one for one in load_suite("pypi-mini").instances if one.instance_id in TRAINED]
    images = present_images(trained, "process")
    for one in trained:
        mirror = folder / "mirrors" / f"{one.repo.replace('/', '__')}.git"
        if not mirror.is_dir():
            subprocess.run(["git", "init", "-q", "--bare", mirror], check=True)
        source = Path(images[one.instance_id], "testbed")
        ref = f"HEAD:refs/heads/{one.instance_id}"
        subprocess.run(["git", "-C", mirror, "fetch", "-q", source, ref], check=True)


def _at(folder: Path, name: str) -> str:
    return str(folder / name)


def _student(folder: Path, run: str, *options: str) -> None:
    """A student's run: mini-SWE-agent in real sandboxes, with a script for a model."""
    (folder / "scripted.yaml").write_text(_PROFILE)
    with _model() as url:
        arguments = ("-m", "mini", *options, "-p", "scripted.yaml", "--run-id", run)
        _harness(folder, "eval", *arguments, HARNESS_BASE_URL=url, HARNESS_MODEL="scripted")


def _harness(folder: Path, *arguments: str, **variables: str) -> str:
    """One command; its output. Raises SystemExit with its messages when it fails."""
    command = [sys.executable, "-c", "from harness.cli import main; main()", *arguments]
    place = {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | place | variables, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"harness {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def _model() -> Iterator[str]:
    """An endpoint that looks around, and submits what is there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            step = sum(one["role"] == "assistant" for one in request["messages"])
            command = (*_STUDENT, _SUBMIT)[min(step, len(_STUDENT))]
            text = f"THOUGHT: Next.\n\n```mswea_bash_command\n{command}\n```"
            message = {"role": "assistant", "content": text}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self._send({"object": "chat.completion", "choices": [choice], "usage": usage})

        def _send(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    main()
