"""`python -m trainers.adapters.calibrate CONFIG.yaml`: are PI adapters calibrated, and do they add
up?

On held-out triples, by source: ECE of the likeliest token, the loss of expert actions with each
interface, the symmetric KL to a model whose weights were all trained on the same triples. By set
of sources: the symmetric KL to an adapter that was trained on all of them together, and the KL of
the composition by weights to the exact one. And the noise: how far the base is from itself when it
is asked twice. Source: CHOP App. D.5.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import Field, ValidationError, model_validator

from harness.records.base import Record
from trainers.adapters.measures import Floats, apart, fit, noise
from trainers.adapters.states import ExpertStates, read_states
from trainers.data.errors import DataError
from trainers.diagnostics.agreement import calibration_error
from trainers.diagnostics.intervals import Number, bootstrap_mean
from trainers.engine.config import Composition, DType, Interface, SourceName
from trainers.engine.errors import TrainingError
from trainers.engine.networks import Network, load_frozen, load_frozen_with
from trainers.engine.ranks import join_ranks
from trainers.engine.tokenisers import check_ids
from trainers.serving.shipped import ModelError, file_sha256
from trainers.teachers.base import Teacher
from trainers.teachers.pi_teacher import PITeacher


class CalibrationSettings(Record):
    """What to measure."""

    model: str
    dtype: DType = "bfloat16"
    adapters: dict[SourceName, Path] = Field(min_length=1)
    triples: tuple[Path, ...] = Field(min_length=1, description="Held out from training.")
    references: dict[SourceName, str] = Field(
        {}, description="By source: the model with all weights trained on the same triples."
    )
    joint: dict[str, Path] = Field(
        {}, description="By sources, as `a+b`: an adapter trained with `method.union`."
    )
    states: int = Field(5000, ge=1)
    max_tokens: int = Field(40_960, ge=2)
    out: Path
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$")

    @model_validator(mode="after")
    def _about_the_adapters(self) -> "CalibrationSettings":
        for key in [*self.references, *self.joint]:
            parts = key.split("+")
            unknown = [one for one in parts if one not in self.adapters]
            if unknown or parts != sorted(set(parts)):
                raise ValueError(
                    f"{key!r}: expected sources of `adapters` in alphabetical order, joined by '+'"
                )
        return self


def calibrate(settings: CalibrationSettings) -> dict[str, Any]:
    """The measurements, ready for JSON. Raises DataError, MismatchError, ModelError."""
    device = join_ranks(settings.device).device
    network = load_frozen_with(settings.model, settings.dtype, settings.adapters, device)
    states = read_states(
        settings.triples, network.tokenizer, max_tokens=settings.max_tokens, most=settings.states
    )
    check_ids(states.trajectories, network.embedded, network.vocabulary)
    sources = sorted(settings.adapters)
    sets = [pair for size in range(2, len(sources) + 1) for pair in combinations(sources, size)]
    return {
        "schema_version": 1,
        "settings": settings.model_dump(mode="json"),
        "model_sha256": network.sha256,
        "triples_sha256": {str(path): file_sha256(path) for path in settings.triples},
        "held_out": {name: _held_out(settings, name) for name in sources},
        "states": len(states.trajectories),
        "noise_floor": float(
            noise(PITeacher(network, states.contexts(), sources), states.trajectories).max()
        ),
        "sources": {name: _source(settings, network, states, name, device) for name in sources},
        "sets": {"+".join(each): _set(settings, network, states, each, device) for each in sets},
    }


def _source(
    settings: CalibrationSettings,
    network: Network,
    states: ExpertStates,
    name: str,
    device: torch.device,
) -> dict[str, Any]:
    chosen = states.having([name])
    if not chosen:
        raise DataError(
            f"{', '.join(map(str, settings.triples))}: no state with PI of {name!r}: give its "
            "triples"
        )
    contexts = states.contexts()
    with_pi: Teacher = PITeacher(network, contexts, [name]).pi
    found = fit(with_pi, chosen)
    losses = {
        interface.value: fit(
            PITeacher(network, contexts, [name], interface=interface).pi, chosen
        ).loss
        for interface in Interface
        if interface is not Interface.CONTEXT
    }
    losses |= {
        "context": found.loss,
        "base": fit(PITeacher(network, contexts, []).base, chosen).loss,
    }
    result: dict[str, Any] = {
        "states": len(chosen),
        "ece": calibration_error(found.confidence, found.correct, found.owners),
        "confidence": bootstrap_mean(found.confidence, found.owners),
        "accuracy": bootstrap_mean(found.correct, found.owners),
        "loss": {key: bootstrap_mean(loss, found.owners) for key, loss in losses.items()},
        "weights_only_share": _share(losses),
    }
    if name in settings.references:
        model = load_frozen(settings.references[name], settings.dtype, None, device)
        full = PITeacher(model, contexts, [name], interface=Interface.PROMPT).pi
        distance = apart(with_pi, full, chosen)
        result["symmetric_kl_to_full"] = bootstrap_mean(distance.symmetric_kl, distance.owners)
    return result


def _set(
    settings: CalibrationSettings,
    network: Network,
    states: ExpertStates,
    sources: tuple[str, ...],
    device: torch.device,
) -> dict[str, Any] | None:
    """Of several sources together; none where no state has PI of all."""
    chosen = states.having(sources)
    if not chosen:
        return None
    contexts = states.contexts()
    exact = PITeacher(network, contexts, sources).pi
    summed = PITeacher(network, contexts, sources, composition=Composition.WEIGHTS).pi
    gap = apart(exact, summed, chosen)
    result: dict[str, Any] = {
        "states": len(chosen),
        "kl_exact_to_weights": bootstrap_mean(gap.kl, gap.owners),
        "largest_kl_to_weights": float(gap.kl.max()),
    }
    name = "+".join(sources)
    if name in settings.joint:
        joint = {name: settings.joint[name]}
        model = load_frozen_with(settings.model, settings.dtype, joint, device)
        together = PITeacher(model, contexts, sources, composition=Composition.WEIGHTS).pi
        distance = apart(exact, together, chosen)
        result["symmetric_kl_to_joint"] = bootstrap_mean(distance.symmetric_kl, distance.owners)
    return result


def _share(losses: dict[str, Floats]) -> float | None:
    """How much of what PI in context saves the adapter saves without it; none if it saves none."""
    base, context, weights = (
        float(losses[key].mean()) for key in ("base", "context", "weights_only")
    )
    return (base - weights) / (base - context) if base > context else None


def _held_out(settings: CalibrationSettings, name: str) -> bool | None:
    """Whether the adapter was trained on none of the files; none where its card does not say."""
    try:
        card = json.loads((settings.adapters[name] / "training.json").read_bytes())
        seen = {str(one["sha256"]) for one in card["triples"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return not seen & {file_sha256(path) for path in settings.triples}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `out`; 2 when something is the user's to mend."""
    parser = argparse.ArgumentParser(prog="python -m trainers.adapters.calibrate")
    parser.add_argument(
        "config", type=Path, help="a YAML file with the keys of CalibrationSettings"
    )
    path = parser.parse_args(arguments).config

    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        settings = CalibrationSettings.model_validate(yaml.safe_load(path.read_text("utf-8")))
        report = calibrate(settings)
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        print(f"error: {path}: {where}: {first['msg']}", file=sys.stderr)
        return 2
    except (DataError, ModelError, TrainingError, OSError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(show(report))
    return 0


def show(report: dict[str, Any]) -> str:
    """A line for each source and each set of sources."""
    lines = []
    for name, one in report["sources"].items():
        lines.append(
            f"{name}: {one['states']} states, ECE {_text(one['ece'])}, accuracy "
            f"{_text(one['accuracy'])}, loss {_text(one['loss']['context'])} (base "
            f"{_text(one['loss']['base'])})"
            + ("" if report["held_out"][name] is not False else ", NOT held out")
        )
    for name, one in report["sets"].items():
        if one is not None:
            lines.append(
                f"{name}: {one['states']} states, KL to the composition by weights "
                f"{_text(one['kl_exact_to_weights'])}"
            )
    lines.append(f"noise of the base, largest TV: {report['noise_floor']:.2g}")
    return "\n".join([*lines, report["settings"]["out"]])


def _text(number: Number) -> str:
    value, low, high = number["value"], number["low"], number["high"]
    if value is None:
        return "unknown"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
