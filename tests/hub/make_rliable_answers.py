"""Write rliable_answers.json: what rliable 1.2.0 answers for a few matrices.

Run in an environment of its own: ``pip install rliable==1.2.0 "pandas<3"``, then
``python tests/hub/make_rliable_answers.py``. It takes ten minutes.
"""

import json
from pathlib import Path

import numpy as np
from rliable import library as rly
from rliable import metrics

DRAWS = 5_000


def matrices():
    rng = np.random.default_rng(2108)
    means = np.linspace(0.1, 1.2, 10)
    yield "five seeds, ten tasks", rng.normal(means, 0.2, (5, 10)), rng.normal(means - 0.1, 0.3, (5, 10))
    yield "three seeds, six tasks", rng.gamma(2.0, 0.3, (3, 6)), rng.gamma(2.0, 0.35, (3, 6))
    ties = np.round(rng.uniform(0, 1, (10, 4)), 1)
    yield "ten seeds, four tasks, ties", ties, np.round(rng.uniform(0, 1, (10, 4)), 1)


def answers(name, matrix, other):
    functions = {
        "iqm": metrics.aggregate_iqm, "mean": metrics.aggregate_mean, "median": metrics.aggregate_median,
        "optimality_gap": metrics.aggregate_optimality_gap,
    }  # fmt: skip
    aggregates = {}
    for key, function in functions.items():
        points, intervals = rly.get_interval_estimates(
            {"x": matrix}, lambda x, f=function: np.array([f(x)]), reps=DRAWS
        )
        low, high = intervals["x"].ravel()
        aggregates[key] = {"value": float(points["x"][0]), "low": float(low), "high": float(high)}
    points, intervals = rly.get_interval_estimates(
        {"x,y": (matrix, other)}, metrics.probability_of_improvement, reps=DRAWS
    )
    low, high = np.ravel(intervals["x,y"])
    thresholds = np.linspace(0, 1.5, 16)
    profile, _ = rly.create_performance_profile({"x": matrix}, thresholds, reps=10)
    return {
        "name": name,
        "matrix": matrix.tolist(),
        "other": other.tolist(),
        "aggregates": aggregates,
        "improvement": {"value": float(points["x,y"]), "low": float(low), "high": float(high)},
        "thresholds": thresholds.tolist(),
        "profile": profile["x"].tolist(),
    }


if __name__ == "__main__":
    rows = [answers(*one) for one in matrices()]
    Path(__file__).with_name("rliable_answers.json").write_text(json.dumps(rows, indent=1) + "\n")
