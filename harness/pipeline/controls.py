"""What control experiments are: arms that differ in one thing, expanded into a pipeline."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from harness.config import ConfigError
from harness.config.load import parse_yaml
from harness.config.run import Name
from harness.pipeline.load import changes_of
from harness.pipeline.manifest import Job, Pipeline, Scalar, Stage
from harness.records import Record


class Arm(Record):
    """One policy. Either `runs` that are there, or a `test` and, for a student, a `train`.

    train, test: a name among the manifest's commands, and what is added to it. each: values that
    the arm is made for, all combinations, beside the seeds of a trained one. `{arm}` in a command
    is the arm's name with these values: the name of its folder, runs/{arm} or students/{arm}.
    trained: folders of trainings of finished runs, for what they cost.
    """

    name: Name
    what: str
    each: dict[str, tuple[Scalar, ...] | str] = Field(default_factory=dict)
    needs: tuple[str, ...] = ()
    train: tuple[Scalar, ...] = ()
    test: tuple[Scalar, ...] = ()
    runs: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_made_or_there(self) -> "Arm":
        if bool(self.runs) == bool(self.test):
            raise ValueError(f"arm {self.name!r}: give `runs` that are there, or how to `test` it")
        return self


class TableRow(Record):
    """paper: the resolved share that the source has for it, in per cent."""

    arm: str
    takeaway: str = ""
    paper: float | None = None


class ControlTable(Record):
    """Arms that are compared with one of them, as a table of the paper has it."""

    title: str
    texts: tuple[str, ...] = ()
    reference: str
    rows: tuple[TableRow, ...] = Field(min_length=1)


class Controls(Record):
    """A manifest of control experiments. prepare: stages that arms need."""

    schema_version: Literal[1] = 1
    name: Name
    title: str
    question: str
    texts: tuple[str, ...] = ()
    values: dict[str, Scalar | tuple[Scalar, ...]]
    commands: dict[str, tuple[Scalar, ...]]
    cpu_minutes: dict[str, float] = Field(default_factory=dict, description="By command.")
    prepare: tuple[Stage, ...] = ()
    arms: tuple[Arm, ...] = Field(min_length=1)
    tables: tuple[ControlTable, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> "Controls":
        names = [arm.name for arm in self.arms]
        used = {row.arm for table in self.tables for row in table.rows}
        used |= {table.reference for table in self.tables}
        for name in [*names, *sorted(used)]:
            if names.count(name) != 1:
                raise ValueError(f"{name!r} is {names.count(name)} times among the arms")
        for arm in self.arms:
            for first, *_ in filter(None, (arm.train, arm.test)):
                if first not in self.commands:
                    raise ValueError(f"arm {arm.name!r}: {first!r} is none of the commands")
        return self


def load_controls(path: Path, changes: Sequence[str] = ()) -> Controls:
    """A manifest with values changed like `steps=10`. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError(f"controls {path} do not exist")
    controls = parse_yaml(path, Controls)
    values = dict(controls.values)
    for where, key, value in changes_of(changes, ()):
        if key not in values:
            raise ConfigError(
                f"{where}: expected KEY=VALUE with a key of {path}: {', '.join(values)}"
            )
        values[key] = value
    return Controls.model_validate(controls.model_dump() | {"values": values})


def pipeline_of(controls: Controls, only: Sequence[str] = ()) -> Pipeline:
    """The stages of all arms, or of some, and of what they need. Raises ConfigError."""
    names = [arm.name for arm in controls.arms]
    for name in only:
        if name not in names:
            raise ConfigError(f"no arm {name!r}: one of {', '.join(names)}")
    arms = [arm for arm in controls.arms if arm.test and (not only or arm.name in only)]
    stages = [stage for arm in arms for stage in _stages(arm, controls)]
    needed: set[str] = {name for stage in stages for name in stage.needs}
    for stage in reversed(controls.prepare):
        if stage.name in needed:
            needed |= set(stage.needs)
    prepare = [stage for stage in controls.prepare if stage.name in needed]
    return Pipeline(
        name=controls.name,
        title=controls.title,
        values=controls.values,
        stages=(*prepare, *stages),
    )


def runs_of(arm: Arm, jobs: Sequence[Job], values: dict[str, str]) -> list[Path]:
    """The run folders of an arm: those that its jobs make, or those that are there."""
    if arm.test:
        return [job.makes[0] for job in jobs if job.stage == f"test-{arm.name}"]
    return _found(arm.runs, values)


def trainings_of(arm: Arm, jobs: Sequence[Job], values: dict[str, str]) -> list[Path]:
    """The folders of an arm's trainings, in the same way."""
    if arm.train:
        return [job.makes[0].parent for job in jobs if job.stage == f"train-{arm.name}"]
    return _found(arm.trained, values)


def _found(patterns: Sequence[str], values: dict[str, str]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern.format_map(values))
        root = Path(path.anchor) if path.is_absolute() else Path()
        found += sorted(root.glob(str(path.relative_to(path.anchor))))
    return found


def _stages(arm: Arm, controls: Controls) -> Iterator[Stage]:
    each = dict(arm.each) | ({"seed": "seeds"} if arm.train else {})
    name = "-".join([arm.name, *(f"{{{key}}}" for key in each)])
    ends = {"train": "students/{arm}/final", "test": "runs/{arm}"}
    needs = {"train": arm.needs, "test": (f"train-{arm.name}",) if arm.train else arm.needs}
    for kind, made in ends.items():
        first, *more = getattr(arm, kind) or (None,)
        if first is None:
            continue
        command = (*controls.commands[str(first)], *more)
        yield Stage(
            name=f"{kind}-{arm.name}",
            each=each,
            needs=needs[kind],
            run=tuple(
                part.replace("{arm}", name) if isinstance(part, str) else part for part in command
            ),
            makes=("{out}/" + made.replace("{arm}", name),),
            cpu_minutes=controls.cpu_minutes.get(str(first)),
        )
