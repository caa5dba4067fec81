"""Trajectories of the student: recorded ones, or continuations of pieces of text."""

import numpy as np

from trainers.data.errors import DataError
from trainers.data.runs import read_runs
from trainers.data.trajectories import Ids, Trajectory, Turn
from trainers.diagnostics.alignment import reference_states
from trainers.engine.networks import Network
from trainers.engine.tokenisers import check_ids, check_runs
from trainers.omniopd.study.options import StudyOptions
from trainers.segments.local import LocalSegments
from trainers.segments.sampling import Place

_MOST_CHARACTERS = 16_000_000  # of a text file


def trajectories(options: StudyOptions, student: Network) -> list[Trajectory]:
    """At most `limit` of them; those of texts are still to be continued. Raises DataError."""
    if options.runs:
        data = read_runs(options.runs, "student", max_tokens=student.longest)
        check_runs(data, [student])
        check_ids(data.trajectories, student.embedded, student.vocabulary)
        found = data.trajectories
    else:
        found = _pieces(options, student)
    if not found:
        given = ", ".join(map(str, options.runs or options.texts))
        raise DataError(f"no trajectory to study in {given}")
    chosen = reference_states("trajectories", len(found), options.limit, options.seed)
    return [found[number] for number in chosen.tolist()]


def _pieces(options: StudyOptions, student: Network) -> list[Trajectory]:
    """Pieces of `prompt_tokens` tokens, each behind what the tokeniser begins every text with."""
    if options.prompt_tokens + options.sampled_tokens >= student.longest:
        raise DataError(
            f"pieces of {options.prompt_tokens} tokens and {options.sampled_tokens} more do not "
            f"fit into the {student.longest} tokens of {student.name}: lower prompt_tokens or "
            "sampled_tokens"
        )
    lead = student.tokenizer("").input_ids
    found = []
    for path in options.texts:
        try:
            text = path.read_text(encoding="utf-8")[:_MOST_CHARACTERS]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a readable text ({error})") from None
        ids = student.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        for start in range(0, len(ids) - options.prompt_tokens + 1, options.prompt_tokens):
            piece = np.array([*lead, *ids[start : start + options.prompt_tokens]], np.int32)
            unknown = np.full(len(piece), np.nan, np.float32)
            name = f"{path.name}/{start}"
            found.append(Trajectory(name, name, "student", piece, (), unknown))
    return found


def continued(options: StudyOptions, student: Network, piece: Trajectory) -> Trajectory:
    """A piece with what the student writes behind it, at temperature 1."""
    size = len(piece.ids)
    (drawn,) = LocalSegments(student).continuations(
        [Place(piece, size - 1)], 1, options.sampled_tokens, options.seed
    )
    written: Ids = drawn.ids[0, : int(drawn.lengths[0])].cpu().numpy().astype(np.int32)
    ids = np.concatenate([piece.ids, written])
    turn = Turn(size, len(ids), 1.0, 1.0, 1)
    unknown = np.full(len(ids), np.nan, np.float32)
    return Trajectory(piece.name, piece.group, "student", ids, (turn,), unknown)
