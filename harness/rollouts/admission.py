"""Which instances of a request can be run, on which images; what cannot is refused by name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness.agents.replay import load_predictions
from harness.config import ConfigError
from harness.environments.images import Images
from harness.environments.lint.lint import refuse_leaks
from harness.environments.pin import check_against_lock
from harness.grading.eval_script import EvalScriptError, plan_evaluation
from harness.grading.official import known_parser
from harness.records import Instance, RunFolder


@dataclass(frozen=True)
class Refused:
    """Something that was asked for and will not be run, and why."""

    what: str
    why: str


def only_predicted(
    instances: tuple[Instance, ...], file: Path, suite: str, refused: list[Refused]
) -> tuple[Instance, ...]:
    """The instances that a file has predictions for."""
    predictions = load_predictions(file)
    refused += [Refused(row.text, "malformed prediction") for row in predictions.refused]
    known = {instance.instance_id for instance in instances}
    refused += [
        Refused(name, f"prediction for an instance that {suite} does not have")
        for name in predictions.patches
        if name not in known
    ]
    return tuple(one for one in instances if one.instance_id in predictions.patches)


def gradable(instances: tuple[Instance, ...], refused: list[Refused]) -> tuple[Instance, ...]:
    """The instances that can be evaluated."""
    kept = []
    for instance in instances:
        try:
            if not instance.gradable:
                raise EvalScriptError("the row is schema v4, without eval_script: load a v5 row")
            if not known_parser(str(instance.log_parser)):
                raise EvalScriptError(f"unknown log_parser {instance.log_parser!r}")
            plan_evaluation(instance)
        except EvalScriptError as error:
            refused.append(Refused(instance.instance_id, str(error)))
        else:
            kept.append(instance)
    return tuple(kept)


def with_images(
    instances: tuple[Instance, ...], images: Images, refused: list[Refused], *, refuse: bool
) -> tuple[Instance, ...]:
    """The instances that have an image. Raises ConfigError when some have none, unless `refuse`."""
    if images.problems and not refuse:
        shown = [f"  {name}: {why}" for name, why in list(images.problems.items())[:5]]
        more = f"\n  and {len(images.problems) - 5} more" if len(images.problems) > 5 else ""
        raise ConfigError(
            f"{len(images.problems)} of {len(instances)} instances have no image:\n"
            + "\n".join(shown)
            + more
        )
    refused += [Refused(name, why) for name, why in images.problems.items()]
    return tuple(one for one in instances if one.instance_id not in images.problems)


def check_images(
    instances: tuple[Instance, ...],
    images: Images,
    kind: Literal["docker", "process"],
    console: Console,
    *,
    allow_leaks: bool,
    allow_unlocked: bool,
) -> tuple[str, ...]:
    """Refuse images that leak or are not the locked ones; what was allowed, for the report.

    Raises ImageLeakError, LockDifferenceError.
    """

    def show(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    references = images.references
    reports = refuse_leaks(instances, references, kind, allowed=allow_leaks, on_progress=show)
    differences = check_against_lock(
        instances, references, kind, allowed=allow_unlocked, on_progress=show
    )
    leaking = [report.instance_id for report in reports if report.errors]
    unlocked = [difference.instance_id for difference in differences]
    return tuple(
        f"{len(names)} of {len(instances)} images {what} and were used all the same: "
        f"{', '.join(names[:5])}{'…' if len(names) > 5 else ''}."
        for names, what in (
            (leaking, "show more than the base commit"),
            (unlocked, "do not hold what their lock says"),
        )
        if names
    )


def show_refused(refused: list[Refused], console: Console) -> None:
    """Print the first of them."""
    if not refused:
        return
    console.print(f"[bold]{len(refused)} refused[/bold] (all are listed in refused.jsonl):")
    for one in refused[:10]:
        console.print(f"  {one.what}: {one.why}", highlight=False, markup=False, soft_wrap=True)


def record_refused(folder: RunFolder, refused: list[Refused]) -> None:
    """Write `refused.jsonl`."""
    lines = "".join(json.dumps(vars(one)) + "\n" for one in refused)
    folder.refused.write_text(lines, encoding="utf-8")
