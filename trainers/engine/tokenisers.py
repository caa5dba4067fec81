"""Which token ids models share."""

from collections.abc import Mapping, Sequence

from trainers.data.errors import DataError
from trainers.data.runs import RunData
from trainers.data.trajectories import Trajectory
from trainers.engine.errors import MismatchError
from trainers.teachers.base import Described


def shared_vocabulary(student: Described, others: Mapping[str, Described]) -> int:
    """How many ids, from 0, mean the same to all models and have a row in each output embedding.

    Rows beyond the tokeniser, which pad a vocabulary to a round size, are cut where sizes differ.
    Raises MismatchError, naming the first id that differs, when tokenisers are different.
    """
    size, mine = student.embedded, student.tokens
    for role, other in others.items():
        theirs = other.tokens
        for number in sorted(mine.keys() & theirs.keys()):
            if mine[number] != theirs[number]:
                raise MismatchError(
                    f"the tokenisers differ: id {number} is {mine[number]!r} in "
                    f"{student.place} and {theirs[number]!r} in the {role}'s "
                    f"{other.place}; choose a {role} with the student's tokeniser"
                )
        size = min(size, other.embedded)
        only_one = mine.keys() ^ theirs.keys()
        size = min([size, *only_one])
    return size


def check_runs(data: RunData, models: Sequence[Described]) -> None:
    """Raise MismatchError when a run was sampled with a tokeniser that none of the models has."""
    known = {model.tokenizer_sha256: model.name for model in models}
    for run, tokenizer in data.tokenizers.items():
        if tokenizer not in known:
            raise MismatchError(
                f"{run} was sampled with a tokeniser {tokenizer[:12]}… that is not the one of "
                f"{' or '.join(f'{name} ({sha[:12]}…)' for sha, name in known.items())}: its token "
                "ids mean something else; give runs of these models"
            )


def check_ids(trajectories: Sequence[Trajectory], embedded: int, shared: int) -> None:
    """Raise DataError for ids without an input embedding, or sampled ids that are not shared."""
    for one in trajectories:
        largest = int(one.ids.max())
        if one.ids.min() < 0 or largest >= embedded:
            raise DataError(
                f"trajectory {one.name} has token id {largest}, but the student's vocabulary ends "
                f"at {embedded - 1}: give runs that a model with this vocabulary sampled"
            )
        sampled = int(one.ids[one.positions].max())
        if sampled >= shared:
            raise DataError(
                f"trajectory {one.name} has a sampled token {sampled}, beyond the {shared} ids "
                "that all models share: leave its run out, or choose models with one vocabulary"
            )
