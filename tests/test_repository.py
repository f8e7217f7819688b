"""What is published here: recipes that are valid, a catalogue that is true, documents that agree with it."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from ruamel.yaml import YAML

from rllte import tables
from rllte.env import ENVS
from rllte.extras import load
from rllte.files import md5, sha256
from rllte.hub.store.catalogue import read_catalogue
from rllte.names import Cell, Run
from rllte.publish.catalogue import TIDY_TABLES, build_catalogue
from rllte.recipes.project import Project
from rllte.runner.additions import release_lines
from rllte.runner.locks import read_lock

ROOT = Path(__file__).parents[1]
PIPELINES = sorted(path.parent for path in ROOT.glob("pipelines/*/*/dvc.yaml"))
CATALOGUE = read_catalogue(ROOT)
ARTIFACTS = sorted(CATALOGUE.artifacts)


def stored_at(path):
    """Return where an artifact is in the embedded remote."""
    digest = CATALOGUE.artifacts[path]["md5"]
    return ROOT / "remote/files/md5" / digest[:2] / digest[2:]


def stored(path):
    """Return an artifact as it is in the embedded remote."""
    return stored_at(path).read_bytes()


def test_the_stages_are_the_same_bytes_in_every_folder():
    assert len({(path / "dvc.yaml").read_bytes() for path in PIPELINES}) == 1


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: "/".join(path.parts[-2:]))
def test_recipes_are_valid_at_the_paper_scale_and_where_available(path):
    (benchmark, agent), project = path.parts[-2:], Project(ROOT)
    for env_id in project.support(benchmark).env_ids:
        assert project.spec(Cell(benchmark, agent, env_id), "paper").scale == "paper"
    for run in project.runs(benchmark, agent):
        assert project.spec(run.cell).num_train_steps > 0
    assert set(project.agent(benchmark, agent).notes) <= set(project.listed(benchmark, agent).envs)


@pytest.mark.parametrize("benchmark", ENVS)
def test_every_agent_of_the_support_list_has_a_pipeline(benchmark):
    agents = [path.name for path in PIPELINES if path.parent.name == benchmark]
    assert sorted(Project(ROOT).support(benchmark).agents) == agents


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ENVS)
def test_every_environment_of_the_support_list_can_be_stepped(benchmark):
    for env_id in Project(ROOT).support(benchmark).env_ids:
        envs = load(ENVS[benchmark], "Environments need")(env_id, num_envs=1, seed=0)
        envs.reset()
        obs, rewards, *_ = envs.step(envs.action_space.sample())
        assert obs.isfinite().all()
        assert rewards.isfinite().all()


@pytest.mark.parametrize(
    ("benchmark", "count"), [("atari", 57), ("dmc", 27), ("procgen", 16), ("minigrid", 16)]
)
def test_the_support_list_is_complete(benchmark, count):
    assert len(set(Project(ROOT).support(benchmark).env_ids)) == count


@pytest.mark.parametrize("path", ARTIFACTS)
def test_every_artifact_is_in_the_embedded_remote_with_the_hashes_of_the_catalogue(path):
    row, data = CATALOGUE.artifacts[path], stored(path)
    assert (md5(data), sha256(data), len(data)) == (row["md5"], row["sha256"], row["size"])


@pytest.mark.parametrize("path", [path for path in ARTIFACTS if path.endswith("curves.parquet")])
def test_every_curve_has_fifty_finite_points_or_one_for_each_update(path):
    table = tables.read_parquet(stored(path), tables.CURVES, path)
    cell = (
        Cell(*path.split("/")[1:4]) if "/runs/" not in path else Run.parse(path[10 : path.rindex("/")]).cell
    )
    spec = Project(ROOT).spec(cell)
    rollout = getattr(spec.hyperparameters, "num_envs", 1) * getattr(spec.hyperparameters, "num_steps", 1)
    least = min(50, spec.num_train_steps // rollout)
    for seed in np.unique(table.column("seed")):
        for split in ("train", "eval"):
            rows = [row for row in table.to_pylist() if (row["seed"], row["split"]) == (seed, split)]
            assert len(rows) >= least
            returns = np.array([row["episode_return"] for row in rows])
            some_ended = np.cumsum([row["num_episodes"] for row in rows]) > 0
            assert np.array_equal(np.isfinite(returns), some_ended)
            assert some_ended[-1]
            assert split == "train" or some_ended.all()


@pytest.mark.parametrize(
    "name", [name for name, row in CATALOGUE.cells.items() if row["status"] == "available"]
)
def test_every_published_cell_has_the_scores_that_the_catalogue_states(name):
    row, cell = CATALOGUE.cells[name], Cell.parse(name)
    table = tables.read_parquet(stored(cell.path("scores")), tables.SCORES, name)
    table = table.filter(pc.equal(table.column("split"), "eval"))
    returns = table.column("episode_return").to_numpy().reshape(len(row["seeds"]), -1)
    assert returns.shape[1] == row["num_episodes"] >= 100
    assert returns.mean(dtype=np.float64) == pytest.approx(row["mean"], abs=1e-3)
    for seed, values in zip(row["seeds"], returns, strict=True):
        stated = CATALOGUE.artifacts[Run(cell, seed).path("scores")]
        assert values.mean(dtype=np.float64) == pytest.approx(stated["mean"], abs=1e-3)


def test_catalogue_results_and_support_table_are_what_artifacts_and_settings_give(tmp_path):
    for name in ("pipelines", "params.yaml", "dvc.lock", "references"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    for path, digest in locked_outputs().items():
        if path.startswith("metrics/"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).symlink_to(ROOT / "remote/files/md5" / digest[:2] / digest[2:])
    for path in ARTIFACTS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to(stored_at(path))
    build_catalogue(tmp_path)
    for name in ("catalogue.json", "docs/reference/results.md", "README.md", *TIDY_TABLES.values()):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), (
            f"{name}: run rllte-hub catalogue"
        )


def locked_outputs():
    """Return the md5 of each output that goes to the remote, by path."""
    outputs = {}
    for path in (path for path in (ROOT, *PIPELINES) if (path / "dvc.lock").exists()):
        for entry in read_lock(path / "dvc.lock").values():
            outputs |= entry["outs"]
    return {
        path: digest for path, digest in outputs.items() if path.startswith(("data/", "models/", "metrics/"))
    }


def test_what_is_locked_is_what_the_catalogue_lists():
    listed = {path: row["md5"] for path, row in CATALOGUE.artifacts.items()}
    locked = locked_outputs()
    assert listed == {path: digest for path, digest in locked.items() if not path.startswith("metrics/")}


def test_the_remote_holds_what_the_locks_name_and_stays_small():
    objects = {path.parent.name + path.name: path for path in ROOT.glob("remote/files/md5/*/*")}
    assert set(objects) == set(locked_outputs().values())
    assert sum(path.stat().st_size for path in objects.values()) < 300e6


def test_every_agent_with_published_cells_has_a_file_of_all_its_tables():
    published = {f"{row['benchmark']}/{row['agent']}" for row in CATALOGUE.rows("available")}
    assert set(YAML(typ="safe").load((ROOT / "params.yaml").read_text())["tables"]) == published
    assert {row.cell_name for row in CATALOGUE.all_artifacts() if row.kind == "tables"} == published


def test_the_next_release_names_cells_of_the_support_list_with_the_budgets_that_are_published():
    release_lines(Project(ROOT), lambda run: True)
