"""`python -m trainers.diagnose CONFIG --out DIR`: what a distillation's gates see, and whether it
holds. The same command continues.

CONFIG is a configuration of `harness train`, or the folder that a training wrote.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Diagnose and say where the result is; 2 when something is the user's to mend."""
    given = vars(_parser().parse_args(arguments))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads its threads

    import transformers
    from pydantic import ValidationError

    from trainers.data.errors import DataError
    from trainers.diagnostics.options import DiagnosisOptions
    from trainers.diagnostics.report import write_report
    from trainers.diagnostics.run import gather, measure_all, show_scope
    from trainers.diagnostics.subject import read_subject
    from trainers.engine.errors import TrainingError
    from trainers.serving.shipped import ModelError

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft asks
    out: Path = given.pop("out")
    config, changes, dry_run = (given.pop(name) for name in ("config", "set", "dry_run"))
    try:
        options = DiagnosisOptions(**{k: v for k, v in given.items() if v is not None})
        subject = read_subject(config, changes)
        scope = gather(subject, options)
        if dry_run:
            print(show_scope(subject, scope, options))
            return 0
        out.mkdir(parents=True, exist_ok=True)
        measured = measure_all(subject, scope, options, out)
        print(write_report(subject, scope, options, measured, out))
    except ValidationError as error:
        first = error.errors()[0]
        print(f"error: --{first['loc'][0]}: {first['msg']}", file=sys.stderr)
        return 2
    except (DataError, ModelError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.diagnose", description=__doc__)
    parser.add_argument("config", type=Path, help="a YAML file, or a training's folder")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--limit", type=int, help="trajectories")
    parser.add_argument("--states", type=int, help="reference states of a trajectory (12)")
    parser.add_argument("--rollouts", type=int, help="teacher continuations of each, for α (0)")
    parser.add_argument("--length", type=int, help="tokens of such a continuation (128)")
    parser.add_argument("--anchors", type=int, help="states of a trajectory with segments (0)")
    parser.add_argument("--segments", type=int, help="of each model at an anchor (8)")
    parser.add_argument("--segment-length", type=int, help="tokens (64)")
    parser.add_argument("--returns", type=Path, help="outcomes of the teacher's rollouts")
    parser.add_argument("--outcomes", type=Path, help="outcomes of resets")
    parser.add_argument("--baseline", type=Path, help="another student's diagnosis")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--dry-run", action="store_true", help="say what it would do")
    return parser


if __name__ == "__main__":
    sys.exit(main())
