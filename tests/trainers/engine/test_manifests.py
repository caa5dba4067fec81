"""The shipped manifests of training methods, against the methods themselves."""

import numpy as np
import pytest

from harness.config.training import Need, load_training, training_names
from trainers.data.errors import DataError
from trainers.data.trajectories import Author, Trajectory, Turn
from trainers.engine.load import load_settings
from trainers.methods.base import Method, Role


def trajectories(*, graded: bool, recorded: bool) -> list[Trajectory]:
    """A resolved and an unresolved attempt of each author."""
    log_probs = np.full(3, -1.0 if recorded else np.nan, np.float32)
    authors: tuple[Author, ...] = ("student", "student", "teacher", "teacher")
    return [
        Trajectory(
            f"r/i/{number}#0",
            "i",
            author,
            np.array([1, 2, 3], np.int32),
            (Turn(1, 3, 0.7, 0.95),),
            log_probs,
            number % 2 if graded else None,
        )
        for number, author in enumerate(authors)
    ]


def refuses(method: Method, given: list[Trajectory]) -> bool:
    try:
        method.prepare(given)
    except DataError:
        return True
    return False


def needs(method: Method) -> set[Need]:
    """What the method itself says and does."""
    found = {Need.STUDENT_RUNS, Need.TEACHER_RUNS}
    if method.share in (0, 1):
        found = {Need.STUDENT_RUNS if method.share else Need.TEACHER_RUNS}
    if method.share is None:
        found = {Need.RUNS}
    if method.name == "adapters":
        found = {Need.TRIPLES}
    if {Role.TEACHER, Role.PI_TEACHER} & {*method.roles}:
        found = found | {Need.TEACHER}
    if Role.PI_TEACHER in method.roles:
        found = found | {Need.PI}
    if method.asks_for_text:
        found = found | {Need.TEXT_TEACHER}
    if refuses(method, trajectories(graded=False, recorded=True)):
        found = found | {Need.GRADES}
    if refuses(method, trajectories(graded=True, recorded=False)):
        found = found | {Need.LOG_PROBS}
    return found


@pytest.mark.parametrize("name", training_names())
def test_a_manifest_trains_and_says_what_it_needs(name: str) -> None:
    """Its settings are the method's defaults, written out, but for a preset and for steps."""
    manifest = load_training(name)
    method = load_settings(manifest.path, method=name).method
    if name != "chop":
        default = type(method).model_validate({"name": name})
        steps = {"exploration_steps"}
        assert method.model_dump(exclude=steps) == default.model_dump(exclude=steps)
    assert {*manifest.about.needs} == needs(method)
    assert str(load_settings(manifest.path, ["out=elsewhere"]).out) == "elsewhere"
