"""How often a 95 % interval holds the truth, simulated with normal scores.

Prints one row for each number of seeds: Student's t and the percentile bootstrap for the mean of one
environment, Welch's t for a difference, and the stratified bootstrap of aggregates over ten environments
whose scores have different means and deviations. ``rllte.hub.statistics.COVERAGE`` quotes the IQM's column.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from rllte.hub import statistics

NUM_TASKS = 10
DRAWS = 500


def percentile_bootstrap(values: statistics.Floats, rng: np.random.Generator) -> tuple[float, float]:
    result = bootstrap((values,), np.mean, n_resamples=1000, method="percentile", rng=rng)
    return result.confidence_interval.low, result.confidence_interval.high


def share(count: int, holds: Callable[[], bool]) -> float:
    return sum(holds() for _ in range(count)) / count


def coverage(num_seeds: int, count: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the share of intervals that hold the truth, by name."""
    means, deviations = np.linspace(0.2, 0.9, NUM_TASKS), np.linspace(0.3, 0.05, NUM_TASKS)

    def draw(size: int) -> dict[str, statistics.Floats]:
        return {f"task-{i}": rng.normal(means[i], deviations[i], size) for i in range(NUM_TASKS)}

    many = draw(100_000)
    truth = {"iqm": statistics.iqm(np.concatenate(list(many.values()))), "median": np.median(means)}

    def student() -> bool:
        low, high = statistics.mean_interval(rng.normal(size=num_seeds))
        return low <= 0 <= high

    def percentile() -> bool:
        low, high = percentile_bootstrap(rng.normal(size=num_seeds), rng)
        return low <= 0 <= high

    def welch() -> bool:
        difference = statistics.welch(rng.normal(size=num_seeds), rng.normal(0, 3, num_seeds))
        return difference.low <= 0 <= difference.high

    def aggregate(name: str) -> bool:
        one = statistics.aggregate(draw(num_seeds), name, DRAWS, seed=int(rng.integers(2**31)))
        return one.low <= truth[name] <= one.high

    return {
        "Student's t": share(10 * count, student),
        "percentile bootstrap": share(count, percentile),
        "Welch's t": share(10 * count, welch),
        "IQM": share(count, lambda: aggregate("iqm")),
        "median": share(count, lambda: aggregate("median")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="simulated comparisons for each number")
    parser.add_argument("--seeds", type=int, nargs="*", default=[3, 4, 5, 10], help="numbers of seeds")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = {num_seeds: coverage(num_seeds, arguments.count, rng) for num_seeds in arguments.seeds}
    names = list(rows[arguments.seeds[0]])
    print(f"| seeds | {' | '.join(names)} |\n|--:|{'--:|' * len(names)}")
    for num_seeds, row in rows.items():
        print(f"| {num_seeds} | {' | '.join(f'{row[name]:.3f}' for name in names)} |")


if __name__ == "__main__":
    main()
