import json
import shutil

import pytest

from rllte.runner.status import read_status
from tests.conftest import CELL, RUNS, edit_yaml


@pytest.fixture
def checkout(published_hub, tmp_path):
    return shutil.copytree(published_hub, tmp_path / "hub")


def states(root):
    return {name: run["state"] for name, run in read_status(root)["runs"].items()}


def test_a_published_run_is_called_so(checkout):
    status = read_status(checkout)
    assert states(checkout) == {str(run): "available" for run in RUNS}
    assert (status["cells"], status["hours_left"]) == ({}, 0.0)
    # the support list has 57 × 4 + 27 × 4 + 16 × 4 + 16 × 3 cells
    assert status["planned_cells"] == 448 - 1


def test_a_changed_setting_makes_runs_stale_and_a_lost_file_makes_one_missing(checkout):
    (checkout / RUNS[1].path("model")).unlink()
    assert states(checkout) == {str(RUNS[0]): "available", str(RUNS[1]): "missing"}

    def change(params):
        params["hyperparameters"]["gamma"] = 0.5

    edit_yaml(checkout / "pipelines/minigrid/ppo/params.yaml", change)
    assert set(states(checkout).values()) == {"stale"}
    assert "changed pipelines/minigrid/ppo/params.yaml: hyperparameters" in str(read_status(checkout))


def test_a_cell_whose_tables_are_not_here_is_missing(checkout):
    shutil.rmtree(checkout / "data")
    (cell,) = read_status(checkout)["cells"].values()
    assert cell["state"] == "missing"


def test_what_is_only_to_be_evaluated_again_needs_no_training(checkout):
    edit_yaml(
        checkout / "pipelines/minigrid/params.yaml",
        lambda params: params["evaluation"].update(num_episodes=6),
    )
    status = read_status(checkout)
    assert set(states(checkout).values()) == {"stale"}
    assert status["hours_left"] == 0.0


def test_the_time_left_follows_from_measured_rates(checkout):
    def add(listed):
        listed["runs"][f"{CELL.env_id}/seed-5"] = {"env_id": CELL.env_id, "seed": 5}

    edit_yaml(checkout / "pipelines/minigrid/ppo/runs.yaml", add)
    for run in RUNS:
        path = checkout / run.path("train")
        cost = json.loads(path.read_text()) | {"env_steps_per_s": 0.1}
        path.unlink()
        path.write_text(json.dumps(cost))
    status = read_status(checkout)
    assert status["runs"][f"{CELL}/seed-5"]["state"] == "untrained"
    # three runs of 1,024 env steps (two have a changed output), a tenth of a step a second
    assert status["hours_left"] == pytest.approx(3 * 1024 / 0.1 / 3600, abs=0.01)
