"""`python -m trainers.train CONFIG.yaml`: train a student. The same command continues.

With several processes: `torchrun --nproc-per-node N -m trainers.train CONFIG.yaml`.
"""

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from harness.records.processes import end_with_parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and say where the result is; 2 when something is the user's to mend, 128 and the
    signal's number when it was asked to stop."""
    options = _parser().parse_args(arguments)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun that is killed would leave its processes
        end_with_parent(signal.SIGKILL)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads its threads

    import transformers

    from trainers.data.errors import DataError
    from trainers.engine.config import TrainSettings
    from trainers.engine.errors import StoppedError, TrainingError
    from trainers.engine.load import load_settings
    from trainers.engine.run import plan, train
    from trainers.engine.show import show_plan
    from trainers.serving.shipped import ModelError

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft asks
    if options.schema:
        print(json.dumps(TrainSettings.model_json_schema(), indent=1))
        return 0
    if options.config is None:
        print("error: give a configuration (YAML), or --schema", file=sys.stderr)
        return 2
    try:
        settings = load_settings(options.config, options.set, options.method)
        if options.dry_run:
            print(show_plan(settings, plan(settings)))
            return 0
        folder = train(settings, skip_damaged=options.skip_damaged)
    except StoppedError as error:
        print(error, file=sys.stderr, flush=True)
        return error.status
    except (DataError, ModelError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    if os.environ.get("RANK", "0") == "0":
        print(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.train", description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", help="a YAML file; --schema says its keys")
    parser.add_argument("--method", help="the method, where the file does not name it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="optimiser.steps=10"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it would do")
    parser.add_argument(
        "--skip-damaged", action="store_true", help="continue from the newest whole checkpoint"
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of CONFIG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
