"""Comparing own results with the hub's agents."""

import json

import numpy as np
import pyarrow as pa
import pytest

from rllte import hub as hub_module
from rllte.errors import HubError, MissingArtifactError, UnknownNameError
from rllte.hub import DMControl, MiniGrid, available, compare, load_references
from rllte.hub.arrays import Curves, ScoreMatrix
from rllte.hub.statistics import welch

CHEETAH = "cheetah_run"


def own_curves(steps, returns):
    curves = Curves({"eval": np.array(returns, np.float32)})
    curves.eval_steps, curves.seeds = np.array(steps), np.arange(len(returns), dtype=np.int32)
    return curves


def test_own_scores_are_compared_by_welchs_test():
    mine = np.array([100.0, 110.0, 120.0])
    result = compare({"mine": {CHEETAH: mine}}, benchmark="dmc", agents=["sac"])
    (task,), theirs = result.tasks, DMControl().load_scores(CHEETAH, "sac").mean(axis=1, dtype=np.float64)
    (pair,) = task.pairs
    assert pair.names == ("mine", "sac")
    assert pair.difference == welch(mine, theirs)
    assert pair.verdict.startswith("mine is lower than sac with ")
    assert f"with 3 and {len(theirs)} seeds" in pair.verdict
    assert task.groups["mine"].mean.value == 110.0
    assert task.groups["sac"].scores.tolist() == theirs.tolist()
    assert any("The budget of mine is not known" in note for note in result.notes)


def test_a_higher_agent_is_called_higher():
    result = compare({"mine": {CHEETAH: [5000.0, 5001.0, 5002.0]}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].pairs[0].verdict.startswith("mine is higher than sac with ")


def test_a_difference_that_cannot_be_told_says_how_many_seeds_would():
    theirs = DMControl().load_scores(CHEETAH, "sac").mean(axis=1)
    result = compare({"mine": {CHEETAH: theirs + theirs.std()}}, benchmark="dmc", agents=["sac"])
    verdict = result.tasks[0].pairs[0].verdict
    assert "mine and sac are not told apart" in verdict
    assert "seeds each would tell them apart in 80 % of cases" in verdict
    result = compare({"mine": {CHEETAH: theirs[:2]}}, benchmark="dmc", agents=["sac"])
    assert "seeds each would" not in result.tasks[0].pairs[0].verdict, "two seeds say little of the spread"


def test_scores_of_episodes_are_averaged_for_each_seed():
    result = compare({"mine": {CHEETAH: np.array([[1.0, 3.0], [5.0, 7.0]])}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].groups["mine"].scores.tolist() == [2.0, 6.0]


def test_curves_are_compared_at_the_smallest_budget():
    curves = own_curves([0, 100_000], [[0.0, 1000.0], [0.0, 2000.0]])
    result = compare({"mine": {CHEETAH: curves}}, benchmark="dmc", agents=["sac"])
    (task,), theirs = result.tasks, DMControl().load_curves(CHEETAH, "sac")
    at = [np.interp(100_000, theirs.eval_steps, row) for row in theirs["eval"]]
    assert task.env_step == 100_000
    assert task.groups["mine"].scores.tolist() == [1000.0, 2000.0]
    assert task.groups["sac"].scores.tolist() == pytest.approx(at)
    assert any("evaluation curves are compared at 100,000" in note for note in result.notes)


def test_own_curves_that_are_longer_are_read_at_the_hubs_budget():
    curves = own_curves([0, 400_000], [[0.0, 400.0], [0.0, 800.0]])
    result = compare({"mine": {CHEETAH: curves}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].env_step == 200_000
    assert result.tasks[0].groups["mine"].scores.tolist() == [200.0, 400.0]


def test_budgets_that_were_rounded_up_to_whole_updates_are_equal():
    curves = own_curves([0, 200_192], [[0.0, 400.0], [0.0, 800.0]])
    result = compare({"mine": {CHEETAH: curves}}, benchmark="dmc", agents=["sac"])
    theirs = DMControl().load_scores(CHEETAH, "sac").mean(axis=1, dtype=np.float64)
    assert result.tasks[0].groups["sac"].scores.tolist() == theirs.tolist()
    assert not [note for note in result.notes if "budgets differ" in note]


def test_a_table_of_training_returns_is_said_to_be_one():
    table = pa.table({
        "seed": [0, 0, 1, 1, 1], "split": ["train"] * 5, "env_step": [0, 200_000, 0, 200_000, 210_000],
        "episode_return": [0.0, 1.0, 0.0, 3.0, 9.0],
    })  # fmt: skip
    result = compare({"mine": {CHEETAH: table}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].groups["mine"].scores.tolist() == [1.0, 3.0]
    assert any("mine has returns of training episodes" in note for note in result.notes)
    assert any(
        "The runs of mine end at 200,000 to 210,000 env steps; seed 0 is the shortest" in note
        for note in result.notes
    )


def test_agents_of_the_hub_are_compared_over_the_environments_that_both_have():
    result = compare(benchmark="minigrid", agents=["ppo", "a2c"])
    both = {row["env_id"] for row in available("minigrid", "ppo")} & {
        row["env_id"] for row in available("minigrid", "a2c")
    }
    assert {task.env_id for task in result.tasks} == both
    assert result.aggregates["ppo"].value > result.aggregates["a2c"].value
    assert result.improvements["ppo", "a2c"].value > 0.9
    assert any("holds the truth in about 85" in note for note in result.notes), (
        "A2C has three seeds of DoorKey"
    )


def test_few_environments_have_no_iqm_and_few_seeds_no_interval():
    own = {"mine": {"Empty-5x5-v0": [0.9, 0.8], "Empty-6x6-v0": [0.7, 0.8]}}
    result = compare(own, benchmark="minigrid", agents=["ppo"])
    assert result.aggregates == {}
    assert np.isnan(result.improvements["mine", "ppo"].low)
    assert any("No IQM: 2 environments are fewer than 4" in note for note in result.notes)
    assert any("no interval: 2 seeds are fewer than 3" in note for note in result.notes)


def test_one_seed_is_too_few_to_tell():
    result = compare({"mine": {CHEETAH: [1.0]}}, benchmark="dmc", agents=["sac"])
    assert "one seed is too few to tell" in result.tasks[0].pairs[0].verdict


def test_unlike_protocols_are_said():
    own = {"mine": {"Pong-v5": [1.0, 2.0]}}
    result = compare(
        own,
        benchmark="atari",
        agents=["ppo"],
        protocol={"sticky_actions": True, "policy_mode": "deterministic"},
    )
    assert "Protocols differ in sticky_actions: The own results True, ppo False." in result.notes
    assert "Protocols differ in policy_mode: The own results deterministic, ppo sampled." in result.notes
    with pytest.raises(UnknownNameError, match="Did you mean 'sticky_actions'"):
        compare(own, benchmark="atari", agents=["ppo"], protocol={"sticky": True})


@pytest.mark.parametrize(
    ("own", "agents", "message"),
    [
        ({}, ["sac"], "A comparison needs two agents"),
        ({"sac": {CHEETAH: [1.0, 2.0]}}, ["sac"], "Own results have the name 'sac' of an agent of the hub"),
        ({"mine": {CHEETAH: [1.0, np.nan]}}, ["sac"], "have NaN or infinite values, the first in row 1"),
        (
            {"mine": {CHEETAH: np.zeros((2, 3, 4))}},
            ["sac"],
            r"must be numbers of shape \(num_seeds,\) or \(num_seeds, num_episodes\)",
        ),
        ({"mine": {"humanoid_run": [1.0]}}, ["sac"], "There is no environment that all agents have"),
        ({"mine": {CHEETAH: [1.0]}}, ["drqv2"], "drqv2: none"),
    ],
)
def test_what_cannot_be_compared_is_an_error(own, agents, message):
    with pytest.raises(HubError, match=message):
        compare(own, benchmark="dmc", agents=agents)


@pytest.mark.parametrize("results", [[[1.0, 2.0], [3.0]], ["a", "b"], 5.0, []])
def test_results_that_are_no_numbers_are_an_error(results):
    with pytest.raises(HubError, match="The results of 'mine' on 'cheetah_run' must be numbers of shape"):
        compare({"mine": {CHEETAH: results}}, benchmark="dmc", agents=["sac"])


def test_own_results_without_a_name_are_an_error_that_shows_the_form():
    with pytest.raises(HubError, match=r"Own results are by agent and environment: .*cheetah_run"):
        compare({CHEETAH: [1.0, 2.0]}, benchmark="dmc", agents=["sac"])


def test_a_misspelt_environment_is_an_error_and_one_that_is_not_there_is_said():
    with pytest.raises(UnknownNameError, match="Did you mean 'cheetah_run'"):
        compare({"mine": {CHEETAH: [1.0, 2.0], "cheetah_rum": [1.0]}}, benchmark="dmc", agents=["sac"])
    result = compare({"mine": {CHEETAH: [1.0, 2.0], "humanoid_run": [1.0]}}, benchmark="dmc", agents="sac")
    assert "Not compared, as an agent has no available cell there: humanoid_run." in result.notes


def own_table(*runs, split="eval", num_episodes=5):
    """Return a table of runs, each a list of (env_step, episode_return)."""
    rows = []
    for seed, run in enumerate(runs):
        for step, value in run:
            row = {"seed": seed, "split": split, "env_step": step, "episode_return": value}
            rows.append({**row, "num_episodes": num_episodes})
    return pa.Table.from_pylist(rows)


def test_a_logged_point_comes_back_exactly_and_others_are_interpolated():
    points = own_table([(0, 0), (200_000, 600), (400_000, 900)], [(0, 0), (400_000, 800)])
    result = compare({"mine": {CHEETAH: points}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].env_step == 200_000
    assert result.tasks[0].groups["mine"].scores.tolist() == [600.0, 400.0]


def test_a_budget_before_the_hubs_first_point_is_said():
    result = compare({"mine": {CHEETAH: own_table([(0, 0), (1000, 5)])}}, benchmark="dmc", agents=["sac"])
    assert "cheetah_run: sac has its first point at 4,000 env steps, whose value is taken." in result.notes


def test_single_training_episodes_are_averaged_over_the_last_ten():
    run = [(10_000 * i, float(i)) for i in range(1, 21)]
    table = own_table(run, split="train", num_episodes=1)
    result = compare({"mine": {CHEETAH: table}}, benchmark="dmc", agents=["sac"])
    assert result.tasks[0].groups["mine"].scores.tolist() == [15.5]  # the mean of 11 to 20
    assert any("single episodes as means of the last 10" in note for note in result.notes)


def test_copies_and_too_many_seeds_are_asked_about():
    notes = compare({"mine": {CHEETAH: [1.0, 1.0, 2.0]}}, benchmark="dmc", agents=["sac"]).notes
    assert any("some seeds of mine have the same score" in note for note in notes)
    notes = compare({"mine": {CHEETAH: np.arange(100.0)}}, benchmark="dmc", agents=["sac"]).notes
    assert any("mine has 100 seeds. Are they episodes?" in note for note in notes)


def test_several_tests_are_said_to_be_several():
    result = compare(benchmark="minigrid", agents=["ppo", "a2c"], env_ids=["Empty-5x5-v0", "Empty-6x6-v0"])
    assert "2 differences are tested at 5 % each, not corrected for their number." in result.notes


def test_a_planned_cell_cannot_be_compared():
    with pytest.raises(MissingArtifactError, match="humanoid_run is planned"):
        compare({"mine": {"humanoid_run": [1.0]}}, benchmark="dmc", agents=["sac"], env_ids=["humanoid_run"])


def test_a_comparison_is_printed_in_four_forms():
    result = compare({"mine": {CHEETAH: [1.0, 2.0, 3.0]}}, benchmark="dmc", agents=["sac"])
    text, markdown, latex, plain = (
        str(result),
        result.to_markdown(),
        result.to_latex(),
        json.loads(result.to_json()),
    )
    for form in (text, markdown):
        assert "2 [-0.4841, 4.484] (3)" in form
        assert "Mean over seeds [95 % interval by Student's t] (number of seeds)." in form
        assert "cheetah_run: mine is lower than sac" in form
    assert "| environment | env steps | mine | sac |" in markdown
    assert r"cheetah\_run & " in latex
    assert latex.endswith(r"\end{tabular}")
    assert plain["tasks"][0]["agents"]["mine"]["scores"] == [1.0, 2.0, 3.0]
    assert plain["tasks"][0]["differences"][0]["agents"] == ["mine", "sac"]


def test_a_score_matrix_keeps_the_seeds_that_each_cell_has():
    matrix = MiniGrid().load_score_matrix("a2c", ["DoorKey-5x5-v0", "Empty-5x5-v0"])
    assert {env_id: scores.shape for env_id, scores in matrix.items()} == {
        "DoorKey-5x5-v0": (3, 100), "Empty-5x5-v0": (5, 100),
    }  # fmt: skip
    assert matrix.seeds == {"DoorKey-5x5-v0": [0, 1, 2], "Empty-5x5-v0": [0, 1, 2, 3, 4]}
    assert matrix.rectangular().shape == (3, 2)
    assert matrix.rectangular()[2, 1] == matrix.means()["Empty-5x5-v0"][2]


def test_a_rectangle_has_the_common_seeds_in_order():
    matrix = ScoreMatrix({"a": np.array([[1.0], [2.0]]), "b": np.array([[3.0], [4.0]])})
    matrix.seeds = {"a": [0, 5], "b": [5, 7]}
    assert matrix.rectangular().tolist() == [[2.0, 3.0]]
    matrix.seeds = {"a": [0, 1], "b": [5, 7]}
    with pytest.raises(HubError, match="no seed in common"):
        matrix.rectangular()


def test_scores_are_normalised_by_the_table_or_by_given_bounds():
    plain = DMControl().load_score_matrix("sac", [CHEETAH])[CHEETAH]
    assert DMControl().load_score_matrix("sac", [CHEETAH], normalize=True)[CHEETAH] == pytest.approx(
        plain / 1000
    )
    given = DMControl().load_score_matrix("sac", [CHEETAH], normalize={CHEETAH: (100.0, 300.0)})[CHEETAH]
    assert given == pytest.approx((plain - 100) / 200)
    with pytest.raises(HubError, match="no bounds for 'cheetah_run'"):
        DMControl().load_score_matrix("sac", [CHEETAH], normalize={"walker_run": (0.0, 1.0)})


def test_an_agent_without_available_cells_has_no_matrix():
    with pytest.raises(HubError, match="dmc/drqv2 has no available cell yet"):
        DMControl().load_score_matrix("drqv2")


def test_curves_are_tables_and_data_frames():
    curves = DMControl().load_curves(CHEETAH, "sac")
    table = curves.to_table()
    assert table.column_names == ["seed", "split", "env_step", "episode_return"]
    assert table.num_rows == curves["eval"].size + curves["train"].size
    frame = curves.to_pandas()
    last = frame[(frame.split == "eval") & (frame.env_step == 200_000) & (frame.seed == 1)]
    assert last.episode_return.item() == curves["eval"][1, -1]


def test_planned_cells_can_be_listed():
    rows = available("dmc", "sac", status="planned")
    assert rows
    assert all(row["status"] == "planned" for row in rows)
    with pytest.raises(UnknownNameError, match="Did you mean 'planned'"):
        available(status="plannd")


def test_references_have_agent_steps_and_sources():
    rows = load_references("dmc", CHEETAH, "sac")
    assert {row["agent"] for row in rows} == {"sac"}
    at = {row["env_step"]: row["mean"] for row in rows}
    assert at[200_000] == 349.57 or at[200_000] == pytest.approx(349.6, abs=0.05)
    (human,) = load_references("atari", "Pong-v5", "human")
    assert (human["mean"], human["env_step"], human["sd"]) == (14.6, None, None)
    with pytest.raises(UnknownNameError):
        load_references("atary")


def test_every_environment_of_the_support_list_has_bounds():
    from rllte.hub.references import load_bounds
    from rllte.hub.store.source import make_source

    source = make_source()
    for row in source.catalogue.cells.values():
        low, high = load_bounds(source, row["benchmark"])[row["env_id"]]
        assert low < high


def test_public_names_are_listed_and_others_are_errors():
    assert set(hub_module.__all__) <= set(dir(hub_module))
    with pytest.raises(AttributeError, match="no attribute 'comparison_'"):
        hub_module.comparison_  # noqa: B018
