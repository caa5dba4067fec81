"""What teachers say in the tokens of expert actions, and how far two of them are apart.

Shapes: N tokens of the actions of all states.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.data.trajectories import Trajectory
from trainers.losses.chunked import Body, Projection, over_tokens
from trainers.losses.divergences import kl, log_probs, total_variation
from trainers.teachers.base import Teacher
from trainers.teachers.pi_teacher import PITeacher

_CHUNK = 256
Floats = NDArray[np.float64]


class Fit(NamedTuple):
    """How well a teacher foretells expert actions, `(N,)` each.

    loss: -log p of the expert's token, nats. confidence: of the likeliest token. correct: whether
    that is the expert's. owners: the instance of each token.
    """

    loss: Floats
    confidence: Floats
    correct: Floats
    owners: list[str]


class Apart(NamedTuple):
    """How far two teachers are apart, `(N,)` each.

    symmetric_kl: half of KL(p ‖ q) + KL(q ‖ p), nats. kl: KL(first ‖ second). tv: total variation.
    """

    symmetric_kl: Floats
    kl: Floats
    tv: Floats
    owners: list[str]


def fit(teacher: Teacher, trajectories: Sequence[Trajectory]) -> Fit:
    """Of a teacher on expert actions. Source: CHOP App. D.5."""
    found = _over([teacher], trajectories, _fit)
    return Fit(found["loss"], found["confidence"], found["correct"], _owners(trajectories))


def apart(first: Teacher, second: Teacher, trajectories: Sequence[Trajectory]) -> Apart:
    """Two teachers on the same states. Source: CHOP App. D.5."""
    found = _over([first, second], trajectories, _apart)
    return Apart(found["symmetric"], found["kl"], found["tv"], _owners(trajectories))


def noise(teacher: PITeacher, trajectories: Sequence[Trajectory]) -> Floats:
    """TV of the base with itself, in the batch with the adapters' rows and alone, `(N,)`.

    What κ̂ is below this is no effect of PI. Source: CHOP Eq. 4.
    """
    head = teacher.network.head[: teacher.network.vocabulary]
    found = []
    for one, pair in zip(trajectories, teacher.replay(trajectories), strict=True):
        sources = [Projection(each, head) for each in pair]
        sampled = torch.from_numpy(one.ids[one.positions].astype(np.int64)).to(head.device)
        found.append(over_tokens(_apart, sources, sampled, chunk=_CHUNK)["tv"])
    return torch.cat(found).double().cpu().numpy()


def _fit(logits: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    log_p = log_probs(logits)
    best = log_p.max(-1)
    return {
        "loss": -log_p.gather(-1, sampled.unsqueeze(-1)).squeeze(-1),
        "confidence": best.values.exp(),
        "correct": (best.indices == sampled).float(),
    }


def _apart(first: Tensor, second: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    log_p, log_q = log_probs(first), log_probs(second)
    there, back = kl(log_p, log_q), kl(log_q, log_p)
    return {"symmetric": (there + back) / 2, "kl": there, "tv": total_variation(log_p, log_q)}


@torch.no_grad()
def _over(
    teachers: Sequence[Teacher], trajectories: Sequence[Trajectory], body: Body
) -> dict[str, Floats]:
    pieces: list[dict[str, Tensor]] = []
    for one in trajectories:
        sampled = torch.from_numpy(one.ids[one.positions].astype(np.int64))
        sources = [teacher.project([one]) for teacher in teachers]
        place = sources[0].columns[0].device
        pieces.append(over_tokens(body, sources, sampled.to(place), chunk=_CHUNK))
    return {
        name: torch.cat([piece[name] for piece in pieces]).double().cpu().numpy()
        for name in pieces[0]
    }


def _owners(trajectories: Sequence[Trajectory]) -> list[str]:
    return [one.group for one in trajectories for _ in range(one.sampled_tokens)]
