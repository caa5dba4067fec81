"""A paper's main table: pass@1 of each policy, its length, and what it gains on the baseline."""

from pathlib import Path
from typing import Any

from harness.config import ConfigError
from harness.leakage.findings import Audit
from harness.pipeline.experiment import Experiment, load_policies
from harness.scoring import score
from harness.scoring.compare import compare_family
from harness.scoring.records import Comparison, Rate

_MARKS = ((0.01, "**"), (0.05, "*"))


def paper_table(experiment: Experiment, root: Path) -> list[dict[str, str]]:
    """A row for each policy, with the columns of CHOP Table 2.

    PI type is the policy's `what`; average length is in generated tokens of an attempt; the
    difference is in points. Raises ConfigError when a run is not there or not finished.
    """
    rows = load_policies(experiment, root)
    family = compare_family(rows, baseline=experiment.baseline)
    against = {one.b: one for one in family}
    table = []
    for policy in experiment.policies:
        scores = score(rows[policy.name])
        length = scores.generated_tokens
        found = against.get(policy.name)
        table.append(
            {
                "method": policy.name,
                "PI type": policy.what,
                "resolve": _percent(scores.pass_at_1),
                "95% CI": _bounds(scores.pass_at_1),
                "avg len": "–" if length is None else f"{length.value:,.1f}",
                f"Δ vs. {experiment.baseline}": "–" if found is None else _difference(found),
                "attempts": str(scores.attempts),
            }
        )
    return table


def audit_rows(folder: Path) -> list[dict[str, str]]:
    """What each check of the audits below a folder said. Raises ConfigError without an audit."""
    found = sorted(folder.glob("*/audit.json"))
    if not found:
        raise ConfigError(f"no audit below {folder}: `harness leakage audit --out {folder}/NAME`")
    return [
        {"audit": path.parent.name, "check": one.name, "result": one.status, "why": one.reason}
        for path in found
        for one in Audit.model_validate_json(path.read_bytes()).checks
    ]


def tables(experiment: Experiment, root: Path, audits: Path | None) -> dict[str, Any]:
    """The table by its experiment's name, and what the audits said, as plain data."""
    whole: dict[str, Any] = {experiment.name: paper_table(experiment, root)}
    return whole if audits is None else whole | {"audits": audit_rows(audits)}


def _percent(found: Rate | None) -> str:
    return "–" if found is None else f"{found.interval.value:.1%}"


def _bounds(found: Rate | None) -> str:
    if found is None:
        return "–"
    return f"[{100 * found.interval.low:.1f}, {100 * found.interval.high:.1f}]"


def _difference(found: Comparison) -> str:
    p = found.p_bootstrap_holm
    mark = next((mark for limit, mark in _MARKS if p is not None and p < limit), "")
    return f"{100 * found.difference.value:+.1f}{mark}"
