"""What each source of privileged information does to the teacher, alone and with the others.

Shapes: C states of a chunk, V ids, m sources. A coalition is a set of sources; its teacher is the
composition of theirs (CHOP Eq. 14).
"""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from math import factorial, log

import torch
from torch import Tensor

from trainers.losses.divergences import jensen_shannon, kl, log_probs, total_variation
from trainers.teachers.compose import compose_logits

Coalition = frozenset[str]
MOST = 4  # sources: all their coalitions are made


def coalitions(sources: Sequence[str]) -> list[Coalition]:
    """All sets of sources, the empty one first. Raises ValueError for more than four sources."""
    if len(sources) > MOST:
        raise ValueError(
            f"{len(sources)} sources have {2 ** len(sources)} coalitions: give at most {MOST}"
        )
    sizes = range(len(sources) + 1)
    return [frozenset(one) for one in chain(*(combinations(sources, size) for size in sizes))]


def shapley(values: Mapping[Coalition, Tensor], sources: Sequence[str]) -> dict[str, Tensor]:
    """Each source's mean gain over all orders of joining: `Σ_S |S|!(m-|S|-1)!/m! (v(S∪i) - v(S))`.

    values: of every coalition, one shape. They sum to `v(all) - v(none)`.
    Source: CHOP App. H; Shapley 1953.
    """
    m = len(sources)
    found = {}
    for source in sources:
        parts = [
            factorial(len(one))
            * factorial(m - len(one) - 1)
            / factorial(m)
            * (values[one | {source}] - values[one])
            for one in coalitions([other for other in sources if other != source])
        ]
        found[source] = torch.stack(parts).sum(0)
    return found


def source_quantities(base: Tensor, adapted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the sources do at each state, `(C,)` each, from the logits `(C, V)` of base and sources.

    `shapley/i`: i's part in κ. `kappa/i`: TV(q, q^{i}). For each pair, in nats:

    `overlap/i+j`: KL(q^i ‖ q) + KL(q^j ‖ q) - KL(q^{ij} ‖ q). Where the teachers are the true
    conditional distributions, its mean is the co-information of i, j and the next token, which is
    at most I(i; j | s): positive where the two say the same, negative where each needs the other.

    `contrast/i+j`: the Jensen-Shannon divergence of q^i and q^j, which is what a perfect one-vs-one
    predictor learns from a token about whether i or j was given: the paper's logistic predictors
    estimate it. Source: CHOP App. H.
    """
    sources = list(adapted)
    teachers = {
        one: log_probs(compose_logits(base, [adapted[source] for source in sorted(one)]))
        for one in coalitions(sources)
    }
    q = teachers[frozenset()]
    kappas = {one: total_variation(q, log_q) for one, log_q in teachers.items()}
    found = {f"shapley/{name}": part for name, part in shapley(kappas, sources).items()}
    found |= {f"kappa/{name}": kappas[frozenset({name})] for name in sources}
    for pair in combinations(sources, 2):
        one, two = (teachers[frozenset({name})] for name in pair)
        both = teachers[frozenset(pair)]
        label = "+".join(pair)
        found[f"overlap/{label}"] = kl(one, q) + kl(two, q) - kl(both, q)
        found[f"contrast/{label}"] = jensen_shannon(one, two, 0.5).clamp(0, log(2))
    return found
