"""The unbiased estimator of pass@k."""

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n attempts, c of them resolved, drawn without replacement, hold a
    resolved one: 1 - C(n-c, k) / C(n, k).

    Raises ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
    Source: Chen et al., Evaluating Large Language Models Trained on Code (2021), Eq. 1.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {c} resolved in {n} attempts is not defined")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def default_ks(attempts: int) -> tuple[int, ...]:
    """Powers of two up to the number of attempts, and that number."""
    powers = (2**exponent for exponent in range(attempts.bit_length()))
    return tuple(sorted({*powers, attempts})) if attempts else ()
