"""How long a failed student waits."""

from distilljob_core.spec.policies import Backoff


def wait_seconds(backoff: Backoff, num_failures: int) -> float:
    """Wait before the restart after the n-th failure in a row.

    initial                      n = 1
    base x factor^(n - 2)        n > 1, and never more than max
    """
    if num_failures <= 1:
        return float(min(backoff.initial_seconds, backoff.max_seconds))
    try:
        grown = backoff.base_seconds * float(backoff.factor) ** (num_failures - 2)
    except OverflowError:
        return float(backoff.max_seconds)
    return min(grown, float(backoff.max_seconds))
