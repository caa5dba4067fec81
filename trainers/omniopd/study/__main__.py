"""`python -m trainers.omniopd.study --out DIR`: estimates of a teacher's probability of a student's
chunks, frequentist and Bayesian, against the exact one. The same command continues.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Study and say where the result is; 2 when something is the user's to mend."""
    given = vars(_parser().parse_args(arguments))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads its threads

    import transformers
    from pydantic import ValidationError

    from trainers.data.errors import DataError
    from trainers.engine.errors import TrainingError
    from trainers.omniopd.study.options import StudyOptions
    from trainers.omniopd.study.run import study
    from trainers.serving.shipped import ModelError

    transformers.utils.logging.disable_progress_bar()
    out: Path = given.pop("out")
    try:
        options = StudyOptions(**{k: v for k, v in given.items() if v is not None})
        print(study(options, out))
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--{first['loc'][0]}: ".replace("_", "-") if first["loc"] else ""
        print(f"error: {where}{first['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return 2
    except (DataError, ModelError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.omniopd.study", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--student", help="a shipped name, a folder or a hub id (repair-student)")
    parser.add_argument("--teacher", help="another, of any tokeniser (repair-teacher)")
    parser.add_argument("--runs", type=Path, nargs="+", help="whose trajectories are studied")
    parser.add_argument("--texts", type=Path, nargs="+", help="files whose pieces are continued")
    parser.add_argument("--limit", type=int, help="trajectories (1000)")
    parser.add_argument("--chunks", type=int, help="of a trajectory (20)")
    parser.add_argument("--chunk-tokens", type=int, help="(50)")
    parser.add_argument("--selection", choices=["entropy", "uniform"])
    parser.add_argument("--rollouts", type=int, nargs="+", help="continuations (10 20)")
    parser.add_argument("--strength", type=float, help="of the prior, α (1)")
    parser.add_argument("--length-factor", type=float, help="of continuations (1)")
    parser.add_argument("--prompt-tokens", type=int, help="of a piece of text (64)")
    parser.add_argument("--sampled-tokens", type=int, help="behind it (256)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--seed", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
