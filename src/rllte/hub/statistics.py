"""Statistics of scores over a few seeds, as pure functions of arrays.

A *score* here is the mean return of one seed on one environment. Scores of several environments are given as
``{env_id: (num_seeds,)}``, since environments may have different numbers of seeds. Where scores of several
environments are combined, normalise them first (``Benchmark.load_score_matrix(normalize=True)``).

The aggregates over environments are those of Agarwal et al., 2021 (https://arxiv.org/abs/2108.13264); the
tests compare them with that paper's library, rliable 1.2.0.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rllte.errors import HubError, UnknownNameError
from rllte.extras import requires_extra

if TYPE_CHECKING:
    from types import ModuleType

Floats = npt.NDArray[np.floating[Any]]
Scores = Mapping[str, Floats]
"""Scores of each seed by environment, ``{env_id: (num_seeds,)}``."""

CONFIDENCE = 0.95
NUM_DRAWS = 2000
MIN_SEEDS, MIN_TASKS = 3, 4
"""An interval over environments needs this many seeds of each; an IQM this many environments."""
COVERAGE = {3: 0.85, 4: 0.88, 5: 0.90, 10: 0.93}
"""How often a 95 % stratified bootstrap interval over environments holds the truth, by the number of seeds.

``benchmarks/coverage.py`` simulates it: ten environments, normal scores.
"""


class Interval(NamedTuple):
    """A value and the ends of its 95 % interval, which are NaN where there are too few seeds for one."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference of two means, its 95 % interval, and the two-sided p-value of there being none."""

    value: float
    low: float
    high: float
    p_value: float


def normalized(values: Floats, bounds: tuple[float, float]) -> Floats:
    """Return values on a scale on which the two bounds are 0 and 1.

    Raises:
        HubError: The bounds are not two different numbers.
    """
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low != high):
        raise HubError(f"The bounds of normalisation are {bounds!r}; write two different numbers.")
    return (values - low) / (high - low)


def trailing_mean(values: Floats, count: int) -> Floats:
    """Return the mean of the last ``count`` values, or of fewer at the beginning, along the last axis."""
    means = [values[..., max(0, i + 1 - count) : i + 1].mean(axis=-1) for i in range(values.shape[-1])]
    return np.stack(means, axis=-1)


def mean_interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % interval of the mean over the first axis, by Student's t.

    Simulated with normal scores, it holds the true mean in 95 % of cases, whatever the number of seeds. The
    percentile bootstrap does in about 77 % with three seeds and 87 % with five (``benchmarks/coverage.py``).

    Args:
        values: ``(num_seeds, …)``, or ``(num_episodes,)`` for an interval over episodes.

    Returns:
        Lower and upper ends, each of the shape of one row; NaN if there is only one row.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    count, mean = len(values), np.asarray(values.mean(axis=0, dtype=np.float64))
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = _t_quantile(count - 1) * values.std(axis=0, ddof=1, dtype=np.float64) / count**0.5
    return mean - half, mean + half


def welch(first: Floats, second: Floats) -> Difference:
    """Compare the means of two groups of seeds by Welch's t-test, which allows unequal variances.

    Args:
        first: ``(num_seeds,)``.
        second: ``(num_seeds,)``.

    Returns:
        The mean of ``first`` minus that of ``second``, with its 95 % interval and p-value; NaN for what
        cannot be computed because a group has one seed, or neither group varies.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    value = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2 or (np.ptp(first) == 0 and np.ptp(second) == 0):
        return Difference(value, np.nan, np.nan, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, if one of the groups does not vary
        result = _stats().ttest_ind(first, second, equal_var=False)
        low, high = result.confidence_interval(CONFIDENCE)
    return Difference(value, float(low), float(high), float(result.pvalue))


def seeds_needed(difference: float, std1: float, std2: float, power: float = 0.8) -> int:
    """Return how many seeds each of two groups needs for a test at 5 % to find a difference.

    Args:
        difference: The true difference of the means.
        std1: Standard deviation over seeds of the first group.
        std2: Of the second group.
        power: The probability of finding the difference.

    Returns:
        The number for each group, at least 2 and at most 1,000.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    stats, pooled = _stats(), ((std1**2 + std2**2) / 2) ** 0.5
    for count in range(2, 1000):
        freedom = 2 * (count - 1)
        shift = abs(difference) / (pooled * (2 / count) ** 0.5) if pooled else np.inf
        critical = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
        if not np.isfinite(shift) or stats.nct.sf(critical, freedom, shift) >= power:
            return count
    return 1000


def iqm(values: Floats, axis: int | None = None) -> Any:
    """Return the interquartile mean: the mean of the values between the first and the third quartile.

    Args:
        values: Any shape.
        axis: The axis to reduce; by default all values together.
    """
    return _stats().trim_mean(values, 0.25, axis=axis)


def optimality_gap(values: Floats, target: float = 1.0, axis: int | None = None) -> Any:
    """Return by how much values fall short of a target on average; values above it count as the target.

    Args:
        values: Any shape, normalised.
        target: The value that counts as optimal.
        axis: The axis to reduce; by default all values together.
    """
    return target - np.minimum(values, target).mean(axis=axis)


def improvement(first: Floats, second: Floats) -> Floats:
    """Return the probability that a seed of ``first`` scores higher than one of ``second``; ties count half.

    Args:
        first: ``(…, num_seeds)`` on one environment.
        second: ``(…, num_seeds)`` on the same environment.

    Returns:
        ``(…)`` in [0, 1].
    """
    one, other = first[..., :, None], second[..., None, :]
    return np.asarray((one > other).mean(axis=(-2, -1)) + 0.5 * (one == other).mean(axis=(-2, -1)))


def performance_profile(scores: Scores, thresholds: Floats) -> Floats:
    """Return the share of runs with scores above each threshold, averaged over environments.

    Args:
        scores: Scores of each seed by environment.
        thresholds: ``(num_thresholds,)``.

    Returns:
        ``(num_thresholds,)`` in [0, 1].
    """
    return np.mean([(row[:, None] > thresholds).mean(axis=0) for row in scores.values()], axis=0)


def _over_runs(statistic: Callable[..., Any]) -> Callable[..., Any]:
    """Return a statistic of all runs of all environments together."""
    return lambda *columns, axis: statistic(np.concatenate(columns, axis=axis), axis=axis)


def _over_environments(statistic: Callable[..., Any]) -> Callable[..., Any]:
    """Return a statistic of the environments' means."""
    return lambda *columns, axis: statistic([column.mean(axis=axis) for column in columns], axis=0)


AGGREGATES: dict[str, Callable[..., Any]] = {
    "iqm": _over_runs(iqm),
    "mean": _over_environments(np.mean),
    "median": _over_environments(np.median),
    "optimality_gap": _over_runs(optimality_gap),
}
"""Aggregates of ``*columns, axis``, one column for each environment, by name."""


def aggregate(scores: Scores, name: str = "iqm", num_draws: int = NUM_DRAWS, seed: int = 0) -> Interval:
    """Combine normalised scores of several environments into one number.

    Args:
        scores: Normalised scores of each seed by environment.
        name: ``"iqm"`` or ``"optimality_gap"``, over all runs; ``"mean"`` or ``"median"``, over the
            environments' means.
        num_draws: Draws of the stratified bootstrap.
        seed: Of the draws, so that the same scores give the same interval.

    Returns:
        The aggregate and its 95 % stratified bootstrap interval; its ends are NaN if an environment has fewer
        than three seeds. ``COVERAGE`` says how often such an interval holds the truth.

    Raises:
        UnknownNameError: There is no such aggregate.
        HubError: An IQM of fewer than four environments is asked for.
        MissingExtraError: SciPy is not installed.
    """
    if name not in AGGREGATES:
        raise UnknownNameError("aggregate", name, AGGREGATES)
    if name == "iqm" and len(scores) < MIN_TASKS:
        raise HubError(
            f"An IQM over {len(scores)} environments is not meaningful; it needs {MIN_TASKS} or more. "
            'Use aggregate(…, "mean"), or more environments.'
        )
    return stratified_bootstrap(list(scores.values()), AGGREGATES[name], num_draws, seed)


def improvement_over(first: Scores, second: Scores, num_draws: int = NUM_DRAWS, seed: int = 0) -> Interval:
    """Return the probability of improvement, averaged over the environments of both.

    Args:
        first: Scores of each seed by environment.
        second: The same environments.
        num_draws: Draws of the stratified bootstrap.
        seed: Of the draws.

    Returns:
        The probability and its 95 % stratified bootstrap interval; see ``aggregate``.

    Raises:
        HubError: The environments differ.
    """
    if set(first) != set(second):
        raise HubError(f"The environments differ: {sorted(first)} and {sorted(second)}.")
    count = len(first)

    def statistic(*columns: Floats, axis: int) -> Floats:
        pairs = zip(columns[:count], columns[count:], strict=True)
        return np.mean([improvement(one, other) for one, other in pairs], axis=0)

    columns = [*first.values(), *(second[name] for name in first)]
    return stratified_bootstrap(columns, statistic, num_draws, seed)


def sample_efficiency(
    curves: Mapping[str, Floats], num_draws: int = NUM_DRAWS, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Return the IQM over environments and seeds at each point of learning curves, with its interval.

    Args:
        curves: Normalised returns ``(num_seeds, num_points)`` by environment, at the same env steps.
        num_draws: Draws of the stratified bootstrap.
        seed: Of the draws.

    Returns:
        The IQM and the ends of its 95 % interval, each ``(num_points,)``.
    """
    num_points = next(iter(curves.values())).shape[1]
    points = [
        aggregate({name: rows[:, i] for name, rows in curves.items()}, "iqm", num_draws, seed)
        for i in range(num_points)
    ]
    value, low, high = np.array(points).T
    return value, low, high


def stratified_bootstrap(
    columns: list[Floats], statistic: Callable[..., Any], num_draws: int = NUM_DRAWS, seed: int = 0
) -> Interval:
    """Return a statistic of several groups of seeds with its 95 % percentile interval.

    Each draw takes as many seeds of each group as it has, with replacement.

    Args:
        columns: ``(num_seeds,)`` of each group.
        statistic: Reduces ``*columns`` along ``axis``, one column for each group.
        num_draws: Number of draws.
        seed: Of the draws.

    Returns:
        The statistic of the groups as they are, and the ends of the interval; NaN if a group has fewer than
        three seeds, or if all draws give the same value.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    value = float(statistic(*columns, axis=-1))
    if min(len(column) for column in columns) < MIN_SEEDS:
        return Interval(value, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    result = _stats().bootstrap(
        columns, statistic, n_resamples=num_draws, method="percentile", vectorized=True, axis=-1,
        confidence_level=CONFIDENCE, rng=rng,
    )  # fmt: skip
    low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    if low == high:  # every draw gave the same value: the seeds do not say how sure it is
        return Interval(value, np.nan, np.nan)
    return Interval(value, low, high)


def coverage_text(num_seeds: int) -> str:
    """Say how often an interval over environments with this many seeds holds the truth."""
    if num_seeds < MIN_SEEDS:
        return f"no interval: {num_seeds} seeds are fewer than {MIN_SEEDS}"
    known = max(count for count in COVERAGE if count <= num_seeds)
    return f"bootstrap interval, which holds the truth in about {COVERAGE[known]:.0%} of cases"


def _t_quantile(freedom: int) -> float:
    with requires_extra("Intervals need"):
        from scipy.special import stdtrit  # imports four times faster than scipy.stats
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _stats() -> "ModuleType":
    with requires_extra("Statistics need"):
        from scipy import stats
    return stats
