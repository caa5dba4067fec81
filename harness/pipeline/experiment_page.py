"""Writes an experiment's report: a page, and `experiment.json` beside it."""

import json
from pathlib import Path
from typing import Any

from harness.config import ConfigError
from harness.pipeline.experiment import (
    Attachment,
    Experiment,
    load_policies,
    policy_runs,
    results,
)
from harness.reports.sections import Section, write_sections

_MAX_IMAGE = 2_000_000


def write_experiment(experiment: Experiment, root: Path, out: Path) -> Path:
    """Write `experiment.json` and `index.html` to `out`; the page's path.

    Raises ConfigError when a run or an attachment is not there.
    """
    found = results(experiment, load_policies(experiment, root))
    attached = [_attachment(one, number, root) for number, one in enumerate(experiment.attachments)]
    runs = [
        str(folder.scores.relative_to(root))
        for policy in experiment.policies
        for folder in policy_runs(policy, root)
    ]
    out.mkdir(parents=True, exist_ok=True)
    whole = found | {one.title: one.figures for one in attached}
    draft = out / ".experiment.json"
    draft.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out / "experiment.json")
    page = out / "index.html"
    write_sections(
        [*_own(experiment, found, tuple(runs)), *attached],
        page,
        title=experiment.title,
        question=experiment.question,
        file="experiment.json",
    )
    return page


def _own(experiment: Experiment, found: dict[str, Any], runs: tuple[str, ...]) -> list[Section]:
    return [
        Section(
            "result",
            "pass@1",
            (
                *experiment.texts,
                "Averaged over runs and seeds within an instance first; intervals are of the "
                "bootstrap over instances and do not hold what another training seed would change: "
                "for that see the column of single runs.",
            ),
            {"pass@1 by policy": found["pass_at_1"]},
            files=runs,
        ),
        Section(
            "differences",
            "Paired differences",
            (
                f"Percentage points on the same instances. All {len(found['differences'])} "
                "comparisons are one family (Holm–Bonferroni); a difference is shown where the "
                "exact test and the bootstrap agree at 5 %.",
            ),
            {"differences": found["differences"]},
            files=runs,
        ),
        Section(
            "gap",
            "Gap recovery",
            (
                f"(policy − {experiment.baseline}) / ({experiment.reference} − "
                f"{experiment.baseline}), pass@1 on the same instances; 1 is the whole gap.",
            ),
            {"gap recovery": found["gap_recovery"]},
            files=runs,
        ),
    ]


def _attachment(one: Attachment, number: int, root: Path) -> Section:
    path = root / one.file
    try:
        data = json.loads(path.read_bytes())
        images = tuple((caption, _svg(root / file)) for caption, file in one.images.items())
    except (OSError, ValueError) as error:
        raise ConfigError(f"attachment {one.title!r}: {error}") from None
    missing = [key for key in one.keys if key not in data]
    if missing:
        raise ConfigError(f"attachment {one.title!r}: {path} has no {missing[0]!r}")
    figures = {key: data[key] for key in one.keys or data}
    return Section(f"part-{number + 1}", one.title, one.texts, figures, images, (one.file,))


def _svg(path: Path) -> str:
    if path.stat().st_size > _MAX_IMAGE:
        raise ValueError(f"{path} is larger than {_MAX_IMAGE:,} bytes")
    return path.read_text(encoding="utf-8")
