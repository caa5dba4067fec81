"""How likely a teacher would have written a chunk, from the continuations that it did write.

Scalars or arrays of any shape that can be broadcast. Everything is detached by nature: numbers, not
tensors.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-3  # how far above 0 a log-probability may come out


def prior(log_probs: ArrayLike) -> float:
    """Geometric mean of the probabilities of a chunk's tokens, whose logarithms are `(C,)`.

    Raises ValueError for an empty chunk, and for what is no log-probability of a sampled token.
    Source: OmniOPD Eq. 4, with the chunk's own length as C.
    """
    found = np.asarray(log_probs, np.float64)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"log-probabilities of shape {found.shape}: a chunk has one or more")
    if not (np.isfinite(found) & (found <= _ROUNDING)).all():
        wrong = found[~(np.isfinite(found) & (found <= _ROUNDING))][0]
        raise ValueError(f"{wrong} is no log-probability of a token that was sampled")
    return float(np.exp(min(0.0, found.mean())))


def posterior(evidence: ArrayLike, count: ArrayLike, prior: ArrayLike, strength: float) -> Floats:
    """`π̂ = (k + α·π̄) / (N + α)`, at least `α·π̄ / (N + α)`.

    evidence: k, the sum of similarities of `count` continuations. prior: π̄. strength: α; 0 is the
    frequentist estimate. No continuation at all gives the prior. Raises ValueError where the result
    would not be an estimate: k outside 0 to N, π̄ outside 0 to 1, α negative, N + α of 0.
    Source: OmniOPD Eq. 5, 10.
    """
    k, n, mean = (np.asarray(each, np.float64) for each in (evidence, count, prior))
    if not np.isfinite(strength) or strength < 0:
        raise ValueError(f"prior strength {strength}: expected 0 or more")
    if not (n >= 0).all():
        raise ValueError(f"{np.min(n)} continuations: expected 0 or more")
    if not ((k >= 0) & (k <= n * (1 + 1e-9))).all():
        raise ValueError("a sum of similarities is below 0, or above the number of continuations")
    if not ((mean >= 0) & (mean <= 1)).all():
        raise ValueError(f"prior {mean}: expected 0 to 1")
    if not (n + strength > 0).all():
        raise ValueError("no continuation, and no prior: there is nothing to estimate from")
    found: Floats = (np.minimum(k, n) + strength * mean) / (n + strength)
    return found


def frequentist(evidence: ArrayLike, count: ArrayLike) -> Floats:
    """`k / N`, the mean similarity of N continuations.

    Raises ValueError as `posterior` does. Source: OmniOPD §3.2.2.
    """
    return posterior(evidence, count, 0.0, 0.0)
