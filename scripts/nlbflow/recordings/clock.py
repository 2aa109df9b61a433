"""Times as whole nanoseconds, from which the benchmark's 1 ms clock is made (specification, section 2.2)."""

import numpy as np

NOT_A_TIME = np.iinfo(np.int64).min
NS_PER_MS = 1_000_000


def seconds_to_ns(seconds: np.ndarray) -> np.ndarray:
    """Seconds as int64 nanoseconds, rounded and cut as pandas does; NaN becomes NOT_A_TIME."""
    seconds = np.asarray(seconds, float)
    known = np.isfinite(seconds)
    whole = np.trunc(np.where(known, seconds, 0.0))
    part = np.round(np.where(known, seconds, 0.0) - whole, 9)
    ns = whole.astype(np.int64) * 1_000_000_000 + (part * 1e9).astype(np.int64)
    return np.where(known, ns, NOT_A_TIME)
