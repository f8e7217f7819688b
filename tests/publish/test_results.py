import math
import shutil

import pytest

from rllte.hub.store.catalogue import read_catalogue
from rllte.publish.results import reference_at, results_page


def point(step, mean, split="eval", step_unit="env steps", sd="2.0", n_seeds="3"):
    return {
        "env_id": "task", "split": split, "step": str(step), "step_unit": step_unit,
        "mean": str(mean), "sd": sd, "n_seeds": n_seeds,
    }  # fmt: skip


def row(num_train_steps, benchmark="dmc"):
    return {"benchmark": benchmark, "env_id": "task", "num_train_steps": num_train_steps}


def write_reference(root, **values):
    values |= {"benchmark": "minigrid", "env_id": "Empty-5x5-v0", "agent": "ppo", "split": "eval"}
    values |= {"step": "1024", "step_unit": "env steps"}
    columns, *_ = (root / "references/learning_curves.csv").read_text().splitlines()
    row = ",".join(values.get(name, "x") for name in columns.split(","))
    (root / "references/learning_curves.csv").write_text(f"{columns}\n{row}\n")


def test_a_reference_is_read_at_the_env_step_of_the_cell():
    points = [point(200, 30.0, sd="4.0"), point(100, 10.0)]
    assert reference_at(points, row(100), "eval") == (10.0, 2.0, 3)
    assert reference_at(points, row(150), "eval") == (20.0, 3.0, 3)  # half-way between two points


@pytest.mark.parametrize("num_train_steps", [99, 201])
def test_a_reference_says_nothing_beyond_its_points(num_train_steps):
    assert reference_at([point(100, 10.0), point(200, 30.0)], row(num_train_steps), "eval") is None


def test_frames_of_repeated_actions_are_counted_as_agent_steps():
    points = [point(200, 10.0, step_unit="env frames (action repeat 2)")]
    assert reference_at(points, row(100), "eval") == (10.0, 2.0, 3)


def test_a_single_seed_has_no_deviation():
    points = [point(100, 10.0, sd="0.0", n_seeds="1"), point(200, 30.0, sd="", n_seeds="3")]
    for step in (100, 200):
        assert math.isnan(reference_at(points, row(step), "eval")[1])


def test_a_reference_of_zero_has_no_ratio(published_hub, tmp_path):
    root = shutil.copytree(published_hub, tmp_path / "hub", symlinks=True)
    write_reference(root, n_seeds="3", mean="0.0", sd="0.0")
    assert "| 0 ± 0 (3) | – | – |" in results_page(root, list(read_catalogue(root).cells.values()))


@pytest.mark.parametrize(("n_seeds", "deviations"), [("2", "–"), ("3", "+1.0")])
def test_deviations_are_of_three_seeds_or_more(published_hub, tmp_path, n_seeds, deviations):
    root = shutil.copytree(published_hub, tmp_path / "hub", symlinks=True)
    cells = list(read_catalogue(root).cells.values())
    ours = next(cell["mean"] for cell in cells if cell["env_id"] == "Empty-5x5-v0")
    write_reference(root, n_seeds=n_seeds, mean=str(ours - 0.1), sd="0.1")
    assert f"({n_seeds}) | {ours / (ours - 0.1):.2f} | {deviations} |" in results_page(root, cells)


def test_procgen_is_compared_split_by_split():
    points = [point(100, 7.0, "unseen_levels"), point(100, 9.0, "train_levels")]
    assert reference_at(points, row(100, "procgen"), "eval") == (7.0, 2.0, 3)
    assert reference_at(points, row(100, "procgen"), "train_levels") == (9.0, 2.0, 3)


def test_every_published_cell_stands_on_the_page(published_hub):
    page = results_page(published_hub, list(read_catalogue(published_hub).cells.values()))
    assert "## minigrid / ppo" in page
    assert "| Empty-5x5-v0 | eval | 1,024 | 2 | 0." in page
    assert page == (published_hub / "docs/reference/results.md").read_text()


def test_the_note_of_a_cell_stands_under_its_table(published_hub):
    cells = read_catalogue(published_hub).cells.values()
    noted = [{**cell, "note": "short"} if cell["env_id"] == "Empty-5x5-v0" else cell for cell in cells]
    assert "\n\n- Empty-5x5-v0: short\n" in results_page(published_hub, noted)
