"""What the harness service does: build the images that are missing, then evaluate.

Every setting is an environment variable; `.env.example` describes them.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping

RUNS = "/runs"


def build_command(settings: Mapping[str, str]) -> list[str]:
    """`harness env build` for the instances that the settings name."""
    return ["harness", "env", "build", *_instances(settings), *_option(settings, "--repos")]


def eval_command(settings: Mapping[str, str]) -> list[str]:
    """`harness eval` as the settings say."""
    command = ["harness", "eval", "--runs", RUNS, *_instances(settings)]
    for method in _list(settings, "METHODS"):
        command += ["--method", method]
    for option in ("--profile", "--seeds", "--workers", "--turns", "--run-id"):
        command += _option(settings, option)
    return [*command, *shlex.split(settings.get("EVAL_OPTIONS", ""))]


def main() -> None:
    """Run both; the exit code is theirs."""
    if not _list(os.environ, "METHODS"):
        sys.exit("METHODS is empty: name the methods to evaluate in .env, as METHODS=gold,noop")
    built = subprocess.run(build_command(os.environ)).returncode
    if built:
        sys.exit(built)
    command = eval_command(os.environ)
    print(f"+ {shlex.join(command)}", f"reports: {os.environ.get('REPORT_URL', RUNS)}", sep="\n")
    os.execvp(command[0], command)  # noqa: S606 - signals go to the harness


def _instances(settings: Mapping[str, str]) -> list[str]:
    chosen = [*_option(settings, "--suite"), *_option(settings, "--rows")]
    for instance in _list(settings, "INSTANCES"):
        chosen += ["--instance", instance]
    return chosen


def _list(settings: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in settings.get(name, "").split(",") if part.strip()]


def _option(settings: Mapping[str, str], option: str) -> list[str]:
    value = settings.get(option.removeprefix("--").replace("-", "_").upper(), "")
    return [option, value] if value else []


if __name__ == "__main__":
    main()
