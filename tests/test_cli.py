import importlib.metadata
import json

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from rllte.cli import main
from rllte.hub import MiniGrid
from rllte.tables import CURVES, SCORES, convert, read_parquet
from tests.conftest import CELL


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_list_shows_a_line_for_each_published_cell(hub):
    lines = run("list").stdout.splitlines()
    assert lines[0].split()[:2] == ["CELL", "SCALE"]
    assert [line.split()[0] for line in lines[1:]] == [str(CELL)]
    assert "1,024" in lines[1]
    assert lines[1].isascii()  # a terminal may know no more


def test_list_as_json_holds_the_rows_and_planned_cells_are_asked_for(hub):
    (row,) = json.loads(run("list", "--json").stdout)
    assert row["seeds"] == [0, 1]
    planned = json.loads(run("list", "--planned", "--benchmark", "atari", "--agent", "ppo", "--json").stdout)
    assert len(planned) == 57
    assert {row["status"] for row in planned} == {"planned"}


def test_show_tells_settings_scores_and_what_regenerates(hub):
    facts = json.loads(run("show", CELL, "--json").stdout)
    assert facts["settings"]["hyperparameters"]["num_steps"] == 32
    assert facts["regenerate"] == "dvc repro pipelines/minigrid/ppo/dvc.yaml:collect@Empty-5x5-v0"
    assert len(facts["artifacts"]) == 10
    text = run("show", CELL).stdout
    assert "num_steps: 32" in text
    assert text.index("mean: ") < text.index("settings:"), "scores come first"
    assert "sha256" not in text
    assert "sha256" in run("show", CELL, "--hashes").stdout


def test_pull_makes_loads_independent_of_the_remote(hub):
    assert "4 files" in run("pull", CELL).stderr
    assert "3 files" in run("pull", f"{CELL}/seed-1").stderr
    assert "4 files" in run("pull", "minigrid/*/Empty-5x*").stderr
    assert "Unknown seed '7'" in run("pull", f"{CELL}/seed-7", code=1).stderr
    (hub / "remote").rename(hub / "away")
    assert MiniGrid().load_scores("Empty-5x5-v0", "ppo").shape == (2, 4)
    MiniGrid().load_models("Empty-5x5-v0", "ppo", 1)


def test_scores_and_curves_are_printed_in_three_formats(hub, tmp_path):
    scores = MiniGrid().load_scores("Empty-5x5-v0", "ppo")
    rows = json.loads(run("scores", CELL, "--format", "json").stdout)
    assert [row["episode_return"] for row in rows] == pytest.approx(scores.ravel().tolist())
    lines = run("curves", CELL).stdout.splitlines()
    assert len(lines) == 1 + 2 * 2 * 2
    assert lines[0].replace('"', "") == ",".join(CURVES.names)
    run("scores", CELL, "--format", "parquet", "-o", tmp_path / "s.parquet")
    table = read_parquet((tmp_path / "s.parquet").read_bytes(), SCORES, "s.parquet")
    assert np.array_equal(table.column("episode_return").to_numpy(), scores.ravel())


def test_plot_writes_an_image(hub, tmp_path):
    run("plot", CELL, "-o", tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert run("plot", CELL, "-o", tmp_path / "curves").stdout == f"{tmp_path}/curves.png\n"
    assert (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("num_episodes", [3, 4])  # of two environments: by one of them, and by both
def test_play_prints_returns_beside_the_published_mean(hub, num_episodes):
    lines = run("play", f"{CELL}/seed-0", "-n", num_episodes).stdout.splitlines()
    assert len(lines) == num_episodes + 1
    assert "published mean of 4:" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scores", "minigrid/ppo/Empty-5x5-v1"], "Did you mean 'Empty-5x5-v0'"),
        (
            ["list", "--benchmark", "minigrid", "--agent", "sac"],
            "It runs on dmc; this benchmark has ppo, a2c, rndppo.",
        ),
        (["show", "minigrid/ppo"], "is not a cell. Write benchmark/agent/env_id"),
        (["play", "minigrid/ppo/Empty-5x5-v0"], "is not a run. Write CELL/seed-N"),
        (["pull", "atari/ppo/Pong-v5"], "is planned"),
        (["list", "--benchmark", "mujoco"], "Unknown benchmark 'mujoco'"),
        (["plot", str(CELL), "-o", "curves.xyz"], "curves.xyz: Format 'xyz' is not supported"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(hub, arguments, message):
    result = run(*arguments, code=1)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["lst"], ["list", "--jsn"], ["play"], ["scores", "CELL", "--format", "xml"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    run(*arguments, code=2)


def test_version_is_that_of_the_distribution():
    assert run("--version").stdout.strip().endswith(importlib.metadata.version("rllte-hub"))


def test_a_disk_that_takes_no_file_is_one_line(hub):
    result = run("plot", CELL, "-o", "/proc/nowhere/plot.png", code=1)
    assert result.stderr.startswith("Error: ")
    assert "/proc/nowhere" in result.stderr


@pytest.mark.parametrize("option", ["--repo", "--rev", "--remote"])
def test_what_chooses_a_source_is_refused_where_this_folder_is_meant(hub, option):
    assert "status works on this folder" in run(option, "x", "status", code=2).stderr


def test_a_curve_without_a_value_is_null_in_json():
    curves = {"seed": [0], "split": ["train"], "env_step": [1], "episode_return": [float("nan")]}
    table = pa.table({**curves, "episode_length": [1.0], "num_episodes": [0]}, schema=CURVES)
    assert json.loads(convert(table, "json"))[0]["episode_return"] is None
