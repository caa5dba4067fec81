"""`python -m trainers.methods.explain OUT --trajectory T --token N`: why it took its branch."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.data.errors import DataError
from trainers.methods.chop_ledger import step_file

_CELLS = {
    "A": "the token branch: the next-token distribution of the teacher without PI",
    "B": "the token branch: the next-token distribution of the teacher with PI",
    "C": "the segment branch: continuations of the teacher without PI",
    "D": "the segment branch: continuations of the teacher with PI",
}


def explain(out: Path, trajectory: str, token: int, step: int | None = None) -> str:
    """The decisions about one state, in words, a paragraph for each step it was seen in.

    out: a training's folder. token: its number in the trajectory. step: that one alone. Raises
    DataError when the ledger has no such state, naming the nearest that it has.
    """
    rows = _rows(out / "ledger", trajectory, step)
    found = [row for row in rows if row["token"] == token]
    if not found:
        near = sorted({row["token"] for row in rows}, key=lambda one: abs(one - token))[:3]
        raise DataError(
            f"{out / 'ledger'} has no row for token {token} of {trajectory}"
            + (f"; the nearest are {', '.join(map(str, near))}" if near else "")
            + ". With method.ledger.states_per_trajectory: null all states are written"
        )
    return "\n\n".join(_paragraph(row) for row in found)


def _rows(folder: Path, trajectory: str, step: int | None) -> list[dict[str, Any]]:
    files = sorted(folder.glob("step-*.parquet"))
    if not files:
        raise DataError(f"no ledger in {folder}: give the `out` of a training by method chop")
    rows: list[dict[str, Any]] = []
    for file in files if step is None else [step_file(folder, step)]:
        try:
            with pq.ParquetFile(file) as opened:
                rows += [
                    row for row in opened.read().to_pylist() if row["trajectory"] == trajectory
                ]
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{file}: not a readable ledger ({error})") from None
    return rows


def _paragraph(row: Mapping[str, Any]) -> str:
    lines = [
        f"step {row['step']}, {row['trajectory']}, token {row['token']}: cell {row['cell']}, "
        f"{_CELLS[row['cell']]}.",
        f"  Reliability: the teacher's entropy is {row['teacher_entropy']:.4g} nats and its TV "
        f"from the student {row['tv']:.4g}, so ρ = {row['rho']:.4g}; {_reliability(row)}.",
        f"  PI: it moves the teacher by κ̂ = {row['kappa']:.4g} (TV); {_pi(row)}.",
        f"  Object: {_object(row)}.",
    ]
    return "\n".join(lines)


def _reliability(row: Mapping[str, Any]) -> str:
    threshold, verdict = row["reliability_threshold"], "trusted" if row["trusted"] else "untrusted"
    if threshold is None:
        return f"there was no threshold yet, and so it is {verdict}"
    above = row["rho"] > threshold
    text = f"that is {'above' if above else 'not above'} τ = {threshold:.4g}: {verdict}"
    if above != row["trusted"]:
        text += ", which the floor or the route of the configuration decided, not τ"
    return text


def _pi(row: Mapping[str, Any]) -> str:
    threshold, verdict = row["pi_threshold"], "used" if row["pi_active"] else "not used"
    if threshold is None:
        return f"there was no threshold yet, and so it is {verdict}"
    above = row["kappa"] > threshold
    text = f"that is {'above' if above else 'not above'} κ* = {threshold:.4g}: {verdict}"
    if above != row["pi_active"]:
        text += ", which the noise floor or the configuration decided, not κ*"
    return text


def _object(row: Mapping[str, Any]) -> str:
    if row["trusted"]:
        return f"KL(p ‖ q) of this state, {row['kl']:.4g} nats"
    if row["anchor_weight"] > 0:
        return (
            f"it is an anchor and stands for {row['anchor_weight']:.3g} untrusted states; the "
            f"squared distance of the segments is {row['segment_distance']:.4g}"
        )
    return "it is no anchor in this step: others of its trajectory stand for it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the explanation; 2 when there is none."""
    parser = argparse.ArgumentParser(prog="python -m trainers.methods.explain")
    parser.add_argument("out", type=Path, help="the folder of a training by method chop")
    parser.add_argument("--trajectory", required=True, help="as <run>/<instance>/<seed>#<n>")
    parser.add_argument("--token", type=int, required=True, help="its number in the trajectory")
    parser.add_argument("--step", type=int, help="that step alone, from 1")
    options = parser.parse_args(arguments)
    try:
        print(explain(options.out, options.trajectory, options.token, options.step))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
