"""Runs by name, and what is in them."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from harness.datagen.triples_gate import TriplesError
from harness.records import Instance, RunFolder, find_runs


def named_runs(paths: list[Path]) -> dict[str, RunFolder]:
    """The runs below some folders, by the ids of their configurations, as trainers name them.

    Raises TriplesError for two of one id, and for a run without a readable configuration.
    """
    named: dict[str, RunFolder] = {}
    for path in paths:
        for run in find_runs(path):
            try:
                name = str(yaml.safe_load(run.config.read_text(encoding="utf-8"))["id"])
            except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
                raise TriplesError(f"{run.config}: not a run's configuration ({error!r})") from None
            if name in named:
                raise TriplesError(f"two runs are named {name}: {named[name].root}, {run.root}")
            named[name] = run
    return named


def run_instances(run: RunFolder) -> Iterator[Instance]:
    """The instances of a run, in its order."""
    with run.suite.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield Instance.model_validate_json(line)


def attempt_folders(run: RunFolder, instance: Instance) -> Iterator[tuple[int, Path]]:
    """The attempts at an instance, by seed."""
    folder = run.attempt(instance.id, 0).parent
    seeds = sorted(int(one.name) for one in folder.glob("[0-9]*") if one.name.isdigit())
    for seed in seeds:
        yield seed, folder / str(seed)
