"""What a pipeline is: stages, each one command for every combination of some values."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.config import ConfigError
from harness.config.run import Name
from harness.pipeline.arithmetic import evaluate
from harness.records import Record

Scalar = str | int | float | bool
Sum = float | str
_PLACE = re.compile(r"\{(\w+)\}")


class Stage(Record):
    """One step of a pipeline. `{name}` in a text stands for a value; an argument of the command
    that is the name of a list alone becomes as many arguments as the list has.

    each: values that it is run for, all combinations; a text names a list among the pipeline's
    values. needs: stages before it; where both have a value by the same name in `each`, only those
    with the same. reads: files whose content decides the result. makes: files and folders that are
    there when it is done, below `{out}`. env: variables that say where things are (addresses): they
    are no part of what decides the result; empty ones are not set. exit_codes: with which it is
    done. For the plan, of one run: cpu_minutes, as measured; hours of wall clock, gpus that it
    holds for them and disk_gb that it leaves, as numbers or sums of values and assumptions.
    """

    name: Name
    run: tuple[Scalar, ...] = Field(min_length=1)
    each: dict[str, tuple[Scalar, ...] | str] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = Field(min_length=1)
    env: dict[str, str] = Field(default_factory=dict)
    exit_codes: tuple[int, ...] = (0,)
    cpu_minutes: float | None = Field(None, gt=0)
    hours: Sum | None = None
    gpus: Sum = 0.0
    disk_gb: Sum = 0.0


class Assumption(Record):
    """A number that the plan rests on: what it is, with its unit, and where it is from."""

    value: float
    what: str
    source: str


class Pipeline(Record):
    """A manifest. Stages stand in an order in which they can be run.

    assumptions: numbers for the plan alone. dollars: of one run of a stage, a sum that may use its
    hours and gpus too.
    """

    schema_version: Literal[1] = 1
    name: Name
    title: str
    values: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    assumptions: dict[str, Assumption] = Field(default_factory=dict)
    dollars: Sum | None = None
    stages: tuple[Stage, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Takes:
    """What one run is planned to take: hours of wall clock, GPUs for them, GB on disk, dollars."""

    hours: float | None = None
    gpus: float = 0
    disk_gb: float = 0
    dollars: float = 0


@dataclass(frozen=True)
class Job:
    """A stage with its values: what is run, what it waits for, reads and makes."""

    name: str
    stage: str
    values: Mapping[str, Scalar]
    command: tuple[str, ...]
    needs: tuple[str, ...]
    reads: tuple[Path, ...]
    makes: tuple[Path, ...]
    cpu_minutes: float | None
    env: Mapping[str, str]
    exit_codes: tuple[int, ...]
    takes: Takes


def expand(pipeline: Pipeline, manifest: Path, out: Path) -> list[Job]:
    """All jobs, in the order of the stages. Raises ConfigError naming stage and value."""
    given = {"out": str(out), "here": str(manifest.parent)}
    jobs: list[Job] = []
    for stage in pipeline.stages:
        known = {job.stage for job in jobs}
        unknown = [name for name in stage.needs if name not in known]
        if unknown or stage.name in known:
            raise ConfigError(
                f"{manifest}: stage {stage.name!r} "
                + (f"needs {unknown[0]!r}, no stage before it" if unknown else "is there twice")
            )
        before = [job for job in jobs if job.stage in stage.needs]
        jobs += [_job(stage, own, pipeline, given, before) for own in _each(stage, pipeline)]
    return jobs


def _each(stage: Stage, pipeline: Pipeline) -> Iterator[dict[str, Scalar]]:
    lists: list[tuple[Scalar, ...]] = []
    for key, values in stage.each.items():
        found = pipeline.values.get(values) if isinstance(values, str) else values
        if not isinstance(found, tuple) or not found:
            raise ConfigError(
                f"stage {stage.name!r}: each.{key} is {values!r}: give a list, or the name of one "
                "among the pipeline's values"
            )
        lists.append(found)
    for combination in itertools.product(*lists):
        yield dict(zip(stage.each, combination, strict=True))


def _job(
    stage: Stage,
    own: dict[str, Scalar],
    pipeline: Pipeline,
    given: Mapping[str, str],
    before: Sequence[Job],
) -> Job:
    lists = {key: value for key, value in pipeline.values.items() if isinstance(value, tuple)}
    single = {key: value for key, value in pipeline.values.items() if not isinstance(value, tuple)}
    values = {**single, **given, **own}

    def fill(text: Scalar) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1] not in values:
                raise ConfigError(
                    f"stage {stage.name!r}: {text!r} asks for {match[1]!r}; there are "
                    f"{', '.join(sorted(values))}"
                )
            return str(values[match[1]])

        return _PLACE.sub(value, str(text))

    def arguments(part: Scalar) -> tuple[str, ...]:
        place = _PLACE.fullmatch(str(part))
        if place and place[1] in lists and place[1] not in own:
            return tuple(fill(one) for one in lists[place[1]])
        return (fill(part),)

    def suits(job: Job) -> bool:
        return all(job.values[key] == own[key] for key in job.values.keys() & own.keys())

    makes = tuple(Path(fill(text)) for text in stage.makes)
    for path in makes:
        if not path.resolve().is_relative_to(Path(given["out"]).resolve()):
            raise ConfigError(f"stage {stage.name!r} makes {path}, which is not below {{out}}")
    return Job(
        name="-".join([stage.name, *(str(value) for value in own.values())]),
        stage=stage.name,
        values=own,
        command=tuple(argument for part in stage.run for argument in arguments(part)),
        needs=tuple(job.name for job in before if suits(job)),
        reads=tuple(Path(fill(text)) for text in stage.reads),
        makes=makes,
        cpu_minutes=stage.cpu_minutes,
        env={key: text for key, text in ((k, fill(v)) for k, v in stage.env.items()) if text},
        exit_codes=stage.exit_codes,
        takes=_takes(stage, pipeline),
    )


def _takes(stage: Stage, pipeline: Pipeline) -> Takes:
    if stage.hours is None:
        return Takes(disk_gb=evaluate(stage.disk_gb, numbers(pipeline)))
    known = numbers(pipeline)
    hours, gpus = evaluate(stage.hours, known), evaluate(stage.gpus, known)
    dollars = evaluate(pipeline.dollars or 0, known | {"hours": hours, "gpus": gpus})
    return Takes(hours, gpus, evaluate(stage.disk_gb, known), dollars)


def numbers(pipeline: Pipeline) -> dict[str, float]:
    """What sums may name: assumptions, values that are numbers, and how many a list has."""
    found = {name: one.value for name, one in pipeline.assumptions.items()}
    for name, value in pipeline.values.items():
        if isinstance(value, tuple):
            found[name] = len(value)
        elif isinstance(value, int | float):
            found[name] = value
    return found
