"""Statistics of scores and curves over seeds."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rllte.extras import requires_extra

Floats = npt.NDArray[np.floating[Any]]


def mean_interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % percentile bootstrap interval of the mean over the first axis.

    For a single task this is the stratified bootstrap of Agarwal et al., 2021, which draws seeds with
    replacement. The draws are seeded, so the same values give the same interval.

    Args:
        values: ``(num_seeds, …)``, or ``(num_episodes,)`` for an interval over episodes.

    Returns:
        The lower and the upper end, each with the shape of one row. If there is only one row, both ends are
        that row.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    if len(values) == 1:
        return values[0], values[0]
    with requires_extra("Intervals need"):
        from scipy.stats import bootstrap
    result = bootstrap(
        (values,), np.mean, axis=0, n_resamples=2000, method="percentile", vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return result.confidence_interval.low, result.confidence_interval.high
