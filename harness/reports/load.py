"""Reads run folders for a report: whatever is missing or unreadable is named, never dropped."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from harness.records import Attempt, Grade, Instance, InstanceId, RunFolder
from harness.reports.files import describe, read_bytes, read_mapping, read_record
from harness.reports.run import Entry, Run
from harness.scoring import Scores

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}")
_SEED = re.compile(r"0|[1-9][0-9]{0,18}")


def load_run(folder: RunFolder) -> Run:
    """Read one run. Raises FileNotFoundError when the folder is not there."""
    if not folder.root.is_dir():
        raise FileNotFoundError(f"no run in {folder.root}: the folder does not exist")
    problems: list[str] = []
    config = read_mapping(folder, folder.config, problems)
    lock = read_mapping(folder, folder.lock, problems)
    scores = read_record(folder, folder.scores, Scores, problems)
    instances = _instances(folder, problems)
    found = set(_found(folder, problems))
    seeds = tuple(sorted(_configured_seeds(config) or {seed for _, seed in found} or {0}))
    places = dict.fromkeys((instance, seed) for instance in instances for seed in seeds)
    places |= dict.fromkeys(sorted(found))
    entries = {place: read_entry(folder, *place) for place in places}
    outside = sorted({instance for instance, _ in found} - instances.keys())
    if outside and instances:
        problems.append(f"attempts on instances that are not in instances.jsonl: {_few(outside)}")
    refused = tuple(_refused(folder, problems))
    return Run(
        folder=folder,
        name=_name(folder, config, entries.values()),
        config=config,
        lock=lock,
        scores=scores,
        instances=instances,
        seeds=seeds,
        entries=entries,
        refused=refused,
        problems=tuple(problems),
    )


def load_runs(folders: Sequence[RunFolder]) -> list[Run]:
    """Read several runs, each once, with names that tell them apart.

    Raises ValueError when there is none, FileNotFoundError when one is not there.
    """
    runs = [load_run(RunFolder(root)) for root in dict.fromkeys(f.root.resolve() for f in folders)]
    if not runs:
        raise ValueError("no run to report on: give at least one run folder")
    names = [run.name for run in runs]
    return [
        run
        if names.count(run.name) == 1
        else replace(run, name=f"{run.name} ({run.folder.root.name})")
        for run in runs
    ]


def read_grade(run: Run, entry: Entry) -> Grade | None:
    """The whole grade of an attempt, tests included."""
    path = run.folder.grade(entry.instance_id, entry.seed) / "grade.json"
    return read_record(run.folder, path, Grade, [])


def _instances(folder: RunFolder, problems: list[str]) -> dict[InstanceId, Instance]:
    instances: dict[InstanceId, Instance] = {}
    try:
        data = read_bytes(folder, folder.suite)
    except (OSError, ValueError) as error:
        problems.append(f"instances.jsonl: {describe(error)}")
        return {}
    if data is None:
        problems.append("instances.jsonl is missing: how many attempts there should be is unknown")
        return {}
    for number, row in enumerate(data.splitlines(), start=1):
        try:
            instance = Instance.model_validate_json(row)
        except ValidationError as error:
            problems.append(f"instances.jsonl line {number}: {describe(error)}")
            continue
        if instance.id in instances:
            problems.append(f"instances.jsonl line {number}: {instance.id} again, shown once")
        instances.setdefault(instance.id, instance)
    return instances


def _refused(folder: RunFolder, problems: list[str]) -> Iterator[tuple[str, str]]:
    """What the run's request named and could not be run (`refused.jsonl`)."""
    try:
        data = read_bytes(folder, folder.refused) or b""
        for row in filter(None, data.splitlines()):
            match json.loads(row):
                case {"what": str(what), "why": str(why)}:
                    yield what, why
                case other:
                    yield str(other)[:200], "no reason recorded"
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{folder.refused.name}: {describe(error)}")


def _found(folder: RunFolder, problems: list[str]) -> Iterator[tuple[InstanceId, int]]:
    """Attempts on disk; hidden folders are drafts of attempts in flight."""
    for kind, file in (("attempts", "attempt.json"), ("grades", "grade.json")):
        for path in sorted((folder.root / kind).glob(f"*/*/{file}")):
            instance, seed = path.parts[-3:-1]
            if seed.startswith("."):
                continue
            if _ID.fullmatch(instance) and _SEED.fullmatch(seed):
                yield InstanceId(instance), int(seed)
            else:
                problems.append(f"{path.relative_to(folder.root)}: not <instance>/<seed>/{file}")


def read_entry(folder: RunFolder, instance_id: InstanceId, seed: int) -> Entry:
    """One attempt with its grade, and what is wrong with their files."""
    problems: list[str] = []
    attempt = read_record(
        folder, folder.attempt(instance_id, seed) / "attempt.json", Attempt, problems
    )
    grade_path = folder.grade(instance_id, seed) / "grade.json"
    grade = read_record(folder, grade_path, Grade, problems)
    if attempt and (attempt.instance_id, attempt.seed) != (instance_id, seed):
        problems.append(
            f"attempt.json is of {attempt.instance_id}, seed {attempt.seed}: not counted here"
        )
        attempt = None
    if grade and grade.instance_id != instance_id:
        problems.append(f"grade.json is of {grade.instance_id}: not counted here")
        grade = None
    if grade and attempt and grade.patch_sha256 != attempt.patch_sha256:
        problems.append("the grade is of another patch than the attempt's (patch_sha256 differs)")
    if grade and not attempt and not problems:
        problems.append("there is a grade but no attempt.json")
    grade = grade.model_copy(update={"tests": {}}) if grade else None
    return Entry(instance_id, seed, attempt, grade, tuple(problems))


def _configured_seeds(config: Mapping[str, Any]) -> set[int]:
    match config.get("seeds"):
        case [*seeds] if all(type(seed) is int for seed in seeds):
            return set(seeds)
        case _:
            return set()


def _name(folder: RunFolder, config: Mapping[str, Any], entries: Iterable[Entry]) -> str:
    match config:
        case {"method": str(name)} | {"method": {"name": str(name)}}:
            return name
    return next((e.attempt.method for e in entries if e.attempt), folder.root.name)


def _few(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
