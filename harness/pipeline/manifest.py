"""What a pipeline is: stages, each one command for every combination of some values."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from harness.config import ConfigError
from harness.config.load import parse_yaml
from harness.config.run import Name
from harness.records import Record

Scalar = str | int | float | bool
_PLACE = re.compile(r"\{(\w+)\}")


class Stage(Record):
    """One step of a pipeline. `{name}` in a text stands for a value.

    each: values that it is run for, all combinations; a text names a list among the pipeline's
    values. needs: stages before it; where both have a value by the same name in `each`, only those
    with the same. reads: files whose content decides the result. makes: files and folders that are
    there when it is done, below `{out}`. cpu_minutes: of one run, as measured; for the plan.
    """

    name: Name
    run: tuple[Scalar, ...] = Field(min_length=1)
    each: dict[str, tuple[Scalar, ...] | str] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    makes: tuple[str, ...] = Field(min_length=1)
    cpu_minutes: float | None = Field(None, gt=0)


class Pipeline(Record):
    """A manifest. Stages stand in an order in which they can be run."""

    schema_version: Literal[1] = 1
    name: Name
    title: str
    values: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = Field(min_length=1)


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


def load_pipeline(path: Path, changes: Sequence[str] = ()) -> Pipeline:
    """A manifest with values changed like `steps=10`. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError(f"pipeline {path} does not exist")
    pipeline = parse_yaml(path, Pipeline)
    values = dict(pipeline.values)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or key not in values:
            raise ConfigError(
                f"{change!r}: expected KEY=VALUE with a key of {path} ({', '.join(values)})"
            )
        values[key] = yaml.safe_load(text)
    return Pipeline.model_validate(pipeline.model_dump() | {"values": values})


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
        command=tuple(fill(part) for part in stage.run),
        needs=tuple(job.name for job in before if suits(job)),
        reads=tuple(Path(fill(text)) for text in stage.reads),
        makes=makes,
        cpu_minutes=stage.cpu_minutes,
    )
