"""`python -m trainers.cost [CONFIG | FOLDER]`: what a text teacher costs.

CONFIG: an estimate of what a training would ask for; no model is loaded. FOLDER, of a training:
what it did cost, beside that. Neither: the table of OmniOPD's App. B.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Print costs; 2 when something is the user's to mend."""
    options = _parser().parse_args(arguments)

    from pydantic import ValidationError

    from trainers.data.errors import DataError
    from trainers.engine.errors import TrainingError
    from trainers.serving.shipped import ModelError

    try:
        if options.path is None:
            found, lines = _paper()
        elif options.path.is_dir():
            found, lines = _measured(options.path)
        else:
            found, lines = _planned(options.path, options.set)
    except (DataError, ModelError, TrainingError, OSError, ValidationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    print(json.dumps(found, indent=1) if options.json else "\n".join(lines))
    return 0


def _paper() -> tuple[Any, list[str]]:
    from trainers.omniopd.cost import DECODE_TO_PREFILL, PAPER_DECODE_FACTOR, paper_rows

    rows = paper_rows()
    lines = [
        "                     by the formula                  as Table 8 prints it",
        "   M   N    C     prefill   decode  of SFT        prefill   decode  of SFT",
        *(
            f"{row.chunks:4} {row.rollouts:3} {row.chunk_tokens:4} "
            + "     ".join(
                f"{cost.prefill:11,.0f} {cost.decode:8,.0f} {row.relative(cost):6.2f}×"
                for cost in (row.formula, row.printed)
            )
            for row in rows
        ),
        "",
        "formula: prefill M·(200 + 6,340/2), decode M·N·C, of one sample; SFT: 200 and 8,000;",
        f"a decoded token is {DECODE_TO_PREFILL} prefilled ones. The table's outputs are "
        f"{PAPER_DECODE_FACTOR}·M·N·C, and its",
        "inputs are doubled at N = 20, as if every 10 rollouts were prefilled once.",
    ]
    names = ("chunks", "rollouts", "chunk_tokens")
    found = [
        {name: getattr(row, name) for name in names}
        | {
            which: cost.model_dump() | {"of_sft": row.relative(cost)}
            for which, cost in (("formula", row.formula), ("printed", row.printed))
        }
        for row in rows
    ]
    return found, lines


def _planned(path: Path, changes: Sequence[str]) -> tuple[Any, list[str]]:
    from transformers import AutoTokenizer

    from harness.records.cache import cache_root
    from trainers.engine.load import load_settings
    from trainers.engine.material import gather_material
    from trainers.omniopd.cost import estimate
    from trainers.serving.models import resolve_model

    settings = load_settings(path, changes, "omniopd")
    model = resolve_model(settings.student.model, cache_root() / "models")
    tokenizer = AutoTokenizer.from_pretrained(model.folder, local_files_only=True)
    found = estimate(settings, gather_material(settings), tokenizer)
    lines = _estimate_lines(found)
    prices = settings.text_teacher.prices if settings.text_teacher else None
    if prices is not None:
        lines.append(f"money      {found.expected.usd(prices):,.2f} USD, nothing cached")
    return found.model_dump(), lines


def _estimate_lines(found: Any) -> list[str]:
    ratio = "not known, taken for 1" if found.ratio is None else f"{found.ratio:.3f}"
    return [
        f"samples    {found.samples:,} trajectories; on average {found.prompt:,.0f} tokens before "
        f"the first answer and {found.length:,.0f} from there",
        f"asks       {found.chunks:,} chunks, {found.rollouts} continuations each",
        f"tokens     the teacher's for one of the student's: {ratio}",
        f"prefill    {found.expected.prefill:,.0f} tokens expected (each prefix once); App. B: "
        f"{found.formula.prefill:,.0f}",
        f"decode     {found.expected.decode:,.0f} tokens at most; App. B: "
        f"{found.formula.decode:,.0f}",
    ]


def _measured(folder: Path) -> tuple[Any, list[str]]:
    from trainers.omniopd.cost import Cost, Estimate, Measured

    expected = Estimate.model_validate_json((folder / "cost" / "estimate.json").read_bytes())
    found = Measured.model_validate_json((folder / "cost" / "measured.json").read_bytes())
    each = found.requests / max(found.asks, 1)  # an endpoint without n reads a prefix N times
    wanted = Cost(prefill=expected.expected.prefill * each, decode=expected.expected.decode)
    lines = [
        *_estimate_lines(expected),
        f"measured   {found.prefill:,} tokens of prefill ({found.cached:,} of them cached): "
        f"{found.prefill / wanted.prefill:.3f}× the estimate at {each:.3g} requests an ask",
        f"           {found.decode:,} decoded: {found.decode / wanted.decode:.3f}×",
        f"           {found.asks:,} asks, {found.replayed:,} of them answered before; "
        f"{found.requests:,} requests, {found.teacher_seconds:,.1f} s of the teacher, "
        f"{found.waited:,.1f} s waited",
        f"           {found.short:,} of {found.asks * expected.rollouts:,} continuations had less "
        "text than their chunk (text_teacher.length_factor gives them more tokens)",
    ]
    return {"estimate": expected.model_dump(), "measured": found.model_dump()}, lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.cost", description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", help="a YAML file, or a training's folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
