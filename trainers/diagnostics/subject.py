"""What is diagnosed: a configuration, or a training that has checkpoints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainers.engine.checkpoints import CheckpointFolder
from trainers.engine.config import TrainSettings
from trainers.engine.errors import CheckpointError, ConfigError
from trainers.engine.load import apply_change, load_settings
from trainers.engine.networks import ADAPTER_FILE, Network
from trainers.serving.shipped import file_sha256

_WEIGHTS = "weights."


@dataclass(frozen=True)
class Subject:
    """Settings, and the steps at which the student is looked at: 0 is how it starts."""

    source: Path
    settings: TrainSettings
    steps: tuple[int, ...]

    @property
    def ledger(self) -> Path | None:
        """The folder of decisions that a training wrote down."""
        folder = self.settings.out / "ledger"
        return folder if len(self.steps) > 1 and folder.is_dir() else None

    def weights_sha256(self, step: int) -> str:
        """The digest of what is trained, besides the base model's weights."""
        if step:
            return file_sha256(self._file(step))
        adapter = self.settings.student.adapter
        start = None if adapter is None else adapter.start
        return "" if start is None else file_sha256(start / ADAPTER_FILE)

    @property
    def reliability_weights(self) -> tuple[float, float] | None:
        """λ1 and λ2 as the newest checkpoint of a CHOP training has them, once calibrated."""
        if len(self.steps) == 1:
            return None
        path = self._file(self.steps[-1]).with_name("state.json")
        try:
            weights = json.loads(path.read_bytes())["method"].get("weights")
            return None if weights is None else (float(weights[0]), float(weights[1]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"checkpoint {path}: {error!r}; delete its folder") from None

    def load_weights(self, step: int, student: Network) -> None:
        """Give the student the weights of a step above 0. Raises CheckpointError."""
        path = self._file(step)
        try:
            tensors = load_file(path)
            found = {
                name.removeprefix(_WEIGHTS): values
                for name, values in tensors.items()
                if name.startswith(_WEIGHTS)
            }
            _copy(found, student)
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"checkpoint {path.parent} does not fit the student of {self.source} ({error}); "
                "leave it out by deleting its folder"
            ) from None

    def _file(self, step: int) -> Path:
        return CheckpointFolder(self.settings.out / "checkpoints", 1).path(step) / (
            "tensors.safetensors"
        )


def read_subject(path: Path, changes: Sequence[str] = ()) -> Subject:
    """From a configuration (YAML), or from the folder that a training wrote.

    changes: `KEY=VALUE`; of a training only below `data` and `pi`, to look at other attempts.
    Raises ConfigError where neither can be read, or there is no teacher or no run of the student.
    """
    settings = _of_training(path, changes) if path.is_dir() else load_settings(path, changes)
    if settings.teacher is None:
        raise ConfigError(f"{path}: no teacher: add the key `teacher:` with `model:` below it")
    if not settings.data.student_runs:
        raise ConfigError(f"{path}: no states of the student: give data.student_runs")
    steps = CheckpointFolder(settings.out / "checkpoints", 1).steps() if path.is_dir() else []
    return Subject(path, settings, (0, *steps))


def _of_training(folder: Path, changes: Sequence[str]) -> TrainSettings:
    card = folder / "training.json"
    for change in changes:
        if not change.startswith(("data.", "pi.")):
            raise ConfigError(
                f"{folder} is a training: its settings are what they were, so that {change!r} "
                "cannot be set; only data.… and pi.… can, to look at other attempts"
            )
    try:
        kept = json.loads(card.read_bytes())["settings"]
        for change in changes:
            apply_change(kept, change)
        return TrainSettings.model_validate(kept | {"out": folder})
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"{folder} is no folder of a training: {card.name} cannot be read ({error}); give the "
            "`out` of a `harness train`, or its configuration"
        ) from None


def _copy(weights: dict[str, Tensor], student: Network) -> None:
    trained = {name: each for name, each in student.named_parameters() if each.requires_grad}
    if weights.keys() != trained.keys():
        raise KeyError("it holds other weights than the student has")
    for name, parameter in trained.items():
        parameter.data.copy_(weights[name])
