"""What several live views compute, on numpy arrays as `shared.js` does on the browser's; tests hold both against torch."""

import numpy as np


def log_softmax(values) -> np.ndarray:
    """(..., C) -> (..., C): logarithms stay finite where probabilities underflow."""
    values = np.asarray(values, dtype=float)
    return values - np.logaddexp.reduce(values, axis=-1, keepdims=True)


def kl(log_p, log_q) -> np.ndarray:
    """KL(p ‖ q) in nats over the last axis, (..., C) and (..., C) -> (...)."""
    # Never negative but for rounding, which would show as -0.00.
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(axis=-1), 0.0)
