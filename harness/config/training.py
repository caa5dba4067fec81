"""Training methods: their manifests, which are configurations of `harness train` too."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from harness.config.load import ConfigError, explain
from harness.records import Record
from harness.suites.errors import did_you_mean
from harness.suites.manifests import manifests_root


class Need(StrEnum):
    """What a training method cannot do without, next to a student."""

    RUNS = "runs"  # of anyone
    STUDENT_RUNS = "student_runs"  # that the student sampled
    TEACHER_RUNS = "teacher_runs"  # that the teacher sampled
    TRIPLES = "triples"  # of `harness datagen triples`
    GRADES = "grades"  # of every run
    LOG_PROBS = "log_probs"  # of sampled tokens, recorded by the endpoint
    TEACHER = "teacher"  # a model whose distributions can be had
    TEXT_TEACHER = "text_teacher"  # a model that only gives text
    PI = "pi"  # privileged information: contexts, and a teacher that reads them


class About(Record):
    """The key `about` of `manifests/methods/training/<name>.yaml`.

    source: of the formula, and what its reading rests on. papers: that use it or compare with it.
    before: what has to be run first.
    """

    title: str
    description: str
    source: str
    papers: tuple[Literal["CHOP", "OmniOPD"], ...]
    needs: tuple[Need, ...] = Field(min_length=1)
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingMethod:
    """A training method; the file at `path` trains by it, given models and data."""

    name: str
    about: About
    path: Path


def training_names() -> list[str]:
    """The training methods."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_training(name: str) -> TrainingMethod:
    """A training method. Raises ConfigError for an unknown name or a malformed manifest."""
    names = training_names()
    if name not in names:
        hint = did_you_mean(name, names)
        raise ConfigError(f"no training method {name!r}{hint} (there are: {', '.join(names)})")
    path = _folder() / f"{name}.yaml"
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        named, about = data["method"]["name"], About.model_validate(data["about"])
    except ValidationError as error:
        raise ConfigError(f"{path}: about: {explain(error, About)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: no manifest of a training method: {error!r}") from None
    if named != name:
        raise ConfigError(f"{path}: trains by method {named!r}: name the file like it")
    return TrainingMethod(name, about, path)


def _folder() -> Path:
    return manifests_root() / "methods" / "training"
