"""Statistics over a few seeds: small inputs, rliable's answers, and simulated coverage."""

import json
from pathlib import Path

import numpy as np
import pytest

from rllte.errors import HubError, UnknownNameError
from rllte.hub import statistics
from rllte.hub.statistics import (
    aggregate,
    coverage_text,
    improvement,
    improvement_over,
    iqm,
    mean_interval,
    optimality_gap,
    performance_profile,
    sample_efficiency,
    seeds_needed,
    welch,
)

RLIABLE = json.loads((Path(__file__).parent / "rliable_answers.json").read_text())


def as_scores(matrix):
    """Return a matrix ``(num_seeds, num_tasks)`` as scores by environment."""
    return {f"task-{i}": np.array(column) for i, column in enumerate(zip(*matrix, strict=True))}


def test_the_interval_of_a_mean_is_students_t():
    # mean 2, deviation 1, three seeds: 4.303 is t(0.975) with two degrees of freedom
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)


def test_the_interval_of_a_curve_is_that_of_each_point():
    low, high = mean_interval(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    assert low[0] == pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-3)
    assert (low[1], high[1]) == (5.0, 5.0)


def test_one_seed_has_no_interval():
    low, high = mean_interval(np.array([[1.0, 5.0]]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_students_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for num_seeds in (3, 5):
        low, high = mean_interval(rng.normal(size=(num_seeds, 20_000)))
        assert ((low <= 0) & (high >= 0)).mean() == pytest.approx(0.95, abs=0.02)


def test_welchs_interval_holds_the_truth_with_unequal_variances():
    rng = np.random.default_rng(0)
    pairs = [welch(rng.normal(size=3), rng.normal(0, 3, size=5)) for _ in range(2000)]
    assert np.mean([one.low <= 0 <= one.high for one in pairs]) == pytest.approx(0.95, abs=0.02)


def test_a_difference_is_first_minus_second():
    result = welch(np.array([3.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    # both deviations are 1: the standard error is sqrt(2/3) with four degrees of freedom, t(0.975) = 2.776
    assert result.value == 2.0
    assert (result.low, result.high) == pytest.approx(
        (2 - 2.7764 * (2 / 3) ** 0.5, 2 + 2.7764 * (2 / 3) ** 0.5), abs=1e-3
    )
    assert result.p_value == pytest.approx(0.0705, abs=1e-4)


@pytest.mark.parametrize("first", [[1.0], [2.0, 2.0]])
def test_a_difference_that_cannot_be_tested_has_no_interval(first):
    result = welch(np.array(first), np.array([1.0, 1.0]))
    assert result.value == first[0] - 1.0
    assert np.isnan([result.low, result.high, result.p_value]).all()


@pytest.mark.parametrize(("effect", "expected"), [(1.0, 17), (0.5, 64), (2.0, 6)])
def test_the_seeds_that_a_difference_needs_are_those_of_power_tables(effect, expected):
    # Cohen, 1988, two-sided at 5 % with power 80 %: 17, 64 and 6 in each group
    assert seeds_needed(effect, 1.0, 1.0) == expected
    assert seeds_needed(-3 * effect, 3.0, 3.0) == expected


def test_the_iqm_is_the_mean_of_the_middle_half():
    assert iqm(np.array([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0])) == 3.5
    assert iqm(np.array([[0.0, 1.0, 2.0, 9.0], [0.0, 3.0, 4.0, 9.0]]), axis=1).tolist() == [1.5, 3.5]


def test_scores_above_the_target_close_no_more_of_the_gap():
    assert optimality_gap(np.array([0.5, 1.0, 7.0])) == pytest.approx(0.5 / 3)
    assert optimality_gap(np.array([0.5, 1.0]), target=2.0) == 1.25


def test_ties_are_half_an_improvement():
    # of six pairs, 3 > 1 and 3 > 2 and 2 > 1 are higher, 2 = 2 is a tie
    assert improvement(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 6)


def test_a_profile_is_averaged_over_environments_not_over_runs():
    scores = {"a": np.array([0.0, 1.0]), "b": np.array([1.0, 1.0, 1.0, 1.0])}
    assert performance_profile(scores, np.array([-1.0, 0.5, 1.0])).tolist() == [1.0, 0.75, 0.0]


@pytest.mark.parametrize("name", ["iqm", "mean", "median", "optimality_gap"])
@pytest.mark.parametrize("case", RLIABLE, ids=lambda case: case["name"])
def test_aggregates_are_rliables(case, name):
    answer = case["aggregates"][name]
    result = aggregate(as_scores(case["matrix"]), name, num_draws=20_000)
    assert result.value == pytest.approx(answer["value"], abs=1e-9)
    spread = answer["high"] - answer["low"]
    assert result.low == pytest.approx(answer["low"], abs=0.05 * spread)
    assert result.high == pytest.approx(answer["high"], abs=0.05 * spread)


@pytest.mark.parametrize("case", RLIABLE, ids=lambda case: case["name"])
def test_improvements_and_profiles_are_rliables(case):
    scores, other = as_scores(case["matrix"]), as_scores(case["other"])
    answer = case["improvement"]
    result = improvement_over(scores, other, num_draws=20_000)
    assert result.value == pytest.approx(answer["value"], abs=1e-9)
    spread = answer["high"] - answer["low"]
    assert (result.low, result.high) == pytest.approx(
        (answer["low"], answer["high"]), abs=0.05 * spread + 0.005
    )
    profile = performance_profile(scores, np.array(case["thresholds"]))
    assert profile.tolist() == pytest.approx(case["profile"])


def test_a_curve_of_the_iqm_has_that_of_each_point():
    rng = np.random.default_rng(0)
    curves = {f"task-{i}": rng.normal(i, 1, size=(4, 3)) for i in range(5)}
    value, low, high = sample_efficiency(curves, num_draws=200)
    last = aggregate({name: rows[:, 2] for name, rows in curves.items()}, num_draws=200)
    assert (value[2], low[2], high[2]) == tuple(last)
    assert ((low <= value) & (value <= high)).all()


def test_environments_may_have_different_numbers_of_seeds():
    scores = {"a": np.array([0.0, 0.0, 0.0]), "b": np.array([1.0] * 9)}
    assert aggregate(scores, "mean").value == 0.5  # each environment counts the same
    assert aggregate(scores, "median").value == 0.5


def test_an_interval_of_no_width_is_none():
    one, other = (
        {name: np.array([start, start + 0.1, start + 0.2]) for name in "ab"} for start in (1.0, 0.0)
    )
    result = improvement_over(one, other)  # every seed is higher: the seeds do not say how sure that is
    assert result.value == 1.0
    assert np.isnan([result.low, result.high]).all()


def test_unequal_variances_widen_the_interval():
    # Welch's 2.0 degrees of freedom in place of Student's 4: t(0.975) = 4.30 in place of 2.78
    low, high = welch(np.array([0.0, 0.001, 0.002]), np.array([0.0, 1.0, 2.0]))[1:3]
    assert high - low == pytest.approx(2 * 4.3026 / 3**0.5, rel=1e-3)


def test_the_same_scores_have_the_same_interval():
    scores = as_scores(RLIABLE[0]["matrix"])
    assert aggregate(scores) == aggregate(scores)
    assert aggregate(scores, seed=1) != aggregate(scores)


def test_two_seeds_have_no_interval_over_environments():
    scores = {f"task-{i}": np.array([0.1, 0.2]) for i in range(4)}
    result = aggregate(scores)
    assert result.value == pytest.approx(0.15)
    assert np.isnan(result.low)
    assert coverage_text(2) == "no interval: 2 seeds are fewer than 3"


def test_no_iqm_of_fewer_than_four_environments():
    with pytest.raises(HubError, match="An IQM over 3 environments is not meaningful; it needs 4 or more"):
        aggregate({name: np.zeros(3) for name in "abc"})


def test_an_unknown_aggregate_is_an_error_that_names_the_others():
    with pytest.raises(UnknownNameError, match="Did you mean 'median'"):
        aggregate({name: np.zeros(3) for name in "abcd"}, "medain")


def test_improvement_needs_the_same_environments():
    with pytest.raises(HubError, match="The environments differ"):
        improvement_over({"a": np.zeros(3)}, {"b": np.zeros(3)})


def test_the_stated_coverage_is_the_simulated_one():
    # as benchmarks/coverage.py does with more draws: ten environments, five seeds
    rng = np.random.default_rng(0)
    means, deviations = np.linspace(0.2, 0.9, 10), np.linspace(0.3, 0.05, 10)

    def draw(size):
        return {f"task-{i}": rng.normal(means[i], deviations[i], size) for i in range(10)}

    truth = iqm(np.concatenate(list(draw(50_000).values())))
    held = []
    for seed in range(300):
        one = aggregate(draw(5), num_draws=200, seed=seed)
        held.append(one.low <= truth <= one.high)
    # 300 draws of a share of 0.9 have a standard error of 0.017
    assert np.mean(held) == pytest.approx(statistics.COVERAGE[5], abs=0.05)
