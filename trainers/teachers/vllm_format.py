"""vLLM's answers as tensors.

Shapes: T tokens of a prompt, M states that were asked for, K ids that are known of a token, n
continuations of L tokens at most.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.engine.errors import TeacherError
from trainers.losses.sources import KnownLogProbs, known_log_probs
from trainers.segments.sampling import Segments


def read_prompt_logprobs(
    answer: Any, prompt: Sequence[int], states: NDArray[np.int64], where: str
) -> dict[str, Tensor]:
    """`ids` and `log_probs` `(M, K)` of the distributions behind some tokens of a prompt.

    vLLM gives one entry for each token of the prompt, none for the first: a dictionary from ids to
    log-probabilities of that token's distribution, the likeliest and the token itself. Places
    that a token has no entry for have id -1. Raises TeacherError for anything else.
    """
    try:
        entries = answer["choices"][0]["prompt_logprobs"]
        if len(entries) != len(prompt):
            raise TeacherError(
                f"{where}: log-probabilities of {len(entries)} tokens for a prompt of "
                f"{len(prompt)}: the server changed the prompt"
            )
        chosen = [entries[state + 1] for state in states.tolist()]
        known = [
            [(int(key), float(one["logprob"])) for key, one in each.items()] for each in chosen
        ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise TeacherError(
            f"{where}: no prompt_logprobs as vLLM gives them, which a teacher is read from"
        ) from None
    width = max(map(len, known), default=1)
    ids = np.full((len(known), width), -1, np.int32)
    log_probs = np.zeros((len(known), width), np.float32)
    for row, (state, pairs) in enumerate(zip(states.tolist(), known, strict=True)):
        ids[row, : len(pairs)] = [number for number, _ in pairs]
        log_probs[row, : len(pairs)] = [value for _, value in pairs]
        if prompt[state + 1] not in ids[row]:
            raise TeacherError(
                f"{where}: token {state + 1} of the prompt is not among those that its own "
                "log-probabilities are of: the server changed the prompt"
            )
    return {"ids": torch.from_numpy(ids), "log_probs": torch.from_numpy(log_probs)}


def known(found: dict[str, Tensor], vocabulary: int, where: str) -> KnownLogProbs:
    """Such tensors as a source of logits. Raises TeacherError where they are no distributions."""
    try:
        return known_log_probs(found["ids"], found["log_probs"], vocabulary)
    except ValueError as error:
        raise TeacherError(f"{where}: no distribution: {error}") from None


def read_continuations(answer: Any, count: int, length: int, where: str) -> Segments:
    """`n` continuations with their ids. Raises TeacherError for anything else."""
    try:
        choices = sorted(answer["choices"], key=lambda one: int(one["index"]))
        found = [[int(number) for number in one["token_ids"]] for one in choices]
    except (KeyError, TypeError, ValueError):
        raise TeacherError(
            f"{where}: no token ids in the answer: `return_token_ids` needs vLLM 0.10.2 or later"
        ) from None
    if len(found) != count or not all(0 < len(each) <= length for each in found):
        raise TeacherError(
            f"{where}: {len(found)} continuations of {[len(each) for each in found]} tokens, not "
            f"{count} of 1 to {length}"
        )
    ids = torch.zeros(count, length, dtype=torch.int64)
    for row, each in enumerate(found):
        ids[row, : len(each)] = torch.tensor(each)
    return Segments(ids, torch.tensor([len(each) for each in found]))
