import shutil
from dataclasses import replace

import pytest

from rllte.errors import HubError, UnknownNameError
from rllte.files import md5
from rllte.names import Cell, Run
from rllte.recipes.project import Project
from rllte.recipes.schema import ListedRuns
from rllte.runner.additions import (
    add_lines,
    list_extras,
    planned_lines,
    release_lines,
    remove_lines,
    take_back,
)
from rllte.runner.locks import entry_text
from rllte.runner.staleness import Plan
from rllte.runner.tasks import check_targets, stale_work, wanted_by
from rllte.runner.workspaces import Checkout
from rllte.stages.train import train
from tests.conftest import CELL, ROOT, RUNS, edit_yaml, make_repository

PARAMS = "pipelines/minigrid/ppo/params.yaml"
RUNS_FILE = "pipelines/minigrid/ppo/runs.yaml"


def anything(run):
    return True


def stages(tasks):
    return {task.name: [stage.name for stage in task.stages] for task in tasks}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A hub where nothing is trained. Not to be changed."""
    return make_repository(tmp_path_factory.mktemp("work") / "hub")


@pytest.fixture
def checkout(published_hub, tmp_path):
    return shutil.copytree(published_hub, tmp_path / "hub")


def test_a_new_cell_has_a_task_for_each_run_and_one_after_them(empty):
    (work,) = stale_work(Project(empty), Plan(empty), anything)
    names = [f"{CELL.env_id}/seed-{run.seed}" for run in RUNS]
    assert stages(work.runs) == {
        str(run): [f"train@{name}", f"evaluate@{name}"] for run, name in zip(RUNS, names, strict=True)
    }
    assert stages([work.last])[str(CELL)] == [*(f"export@{name}" for name in names), f"collect@{CELL.env_id}"]


def test_nothing_is_done_where_everything_is_available(checkout):
    assert stale_work(Project(checkout), Plan(checkout), anything) == []


def test_another_way_to_evaluate_trains_nothing(checkout):
    edit_yaml(checkout / "pipelines/minigrid/params.yaml", lambda p: p["evaluation"].update(num_episodes=6))
    (work,) = stale_work(Project(checkout), Plan(checkout), anything)
    assert [[stage.kind for stage in task.stages] for task in work.runs] == [["evaluate"], ["evaluate"]]
    reads = work.inputs(work.runs[0])
    assert reads == [f"pipelines/minigrid/ppo/dvc.yaml:train@{CELL.env_id}/seed-0"]


def test_what_exports_and_collects_reads_all_runs_of_its_cell(empty):
    (work,) = stale_work(Project(empty), Plan(empty), anything)
    kinds = sorted(address.partition(":")[2].partition("/")[0] for address in work.inputs(work.last))
    assert kinds == [f"{kind}@{CELL.env_id}" for kind in ("evaluate", "evaluate", "train", "train")]


def test_a_failed_run_is_not_exported_and_its_cell_not_collected(empty):
    (work,) = stale_work(Project(empty), Plan(empty), anything)
    rest = work.finish({str(RUNS[0])})
    assert [stage.name for stage in rest.stages] == [f"export@{CELL.env_id}/seed-1"]
    assert work.finish({str(run) for run in RUNS}) is None


def test_one_run_can_be_asked_for_and_its_cell_waits_for_the_others(empty):
    (work,) = stale_work(Project(empty), Plan(empty), wanted_by([str(RUNS[1])], None, None))
    assert list(stages(work.runs)) == [str(RUNS[1])]
    assert [stage.kind for stage in work.last.stages] == ["export"]
    assert stale_work(Project(empty), Plan(empty), wanted_by([], "atari", None)) == []


def test_a_name_that_is_not_listed_is_an_error_with_the_nearest(empty):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{CELL}'"):
        check_targets(["minigrid/ppo/Empty-5x5-v1"], Project(empty).all_runs())
    with pytest.raises(UnknownNameError, match="Did you mean 'ppo'"):
        wanted_by([], None, "pppo")
    with pytest.raises(UnknownNameError, match="Unknown run"):
        check_targets([f"{CELL}/seed-7"], Project(empty).all_runs())


def test_resources_come_from_params_and_fewer_cores_than_threads_are_refused(tmp_path):
    root = make_repository(tmp_path / "hub")
    before = Project(root).spec(CELL).hash

    def ask(params):
        params["resources"] = {"num_gpus": 0.5, "memory_gb": 2, "custom": {"big": 1}}

    edit_yaml(root / "pipelines/minigrid/params.yaml", ask)
    edit_yaml(root / PARAMS, lambda params: params["differs"].update(resources={"num_gpus": 1}))
    assert Project(root).spec(CELL).hash == before, "what a run is given does not change what it gives"
    (work,) = stale_work(Project(root), Plan(root), anything)
    options = {"num_cpus": 1, "num_gpus": 1, "memory": 2_000_000_000, "resources": {"big": 1}}
    assert [task.options for task in work.runs] == [options] * len(RUNS)
    assert work.last.options == {**options, "num_gpus": 0}, "export computes on the CPU"
    edit_yaml(root / PARAMS, lambda params: params["differs"]["train"].update(num_threads=2))
    with pytest.raises(HubError, match=r"computes with 2 threads .*, but --threads is 1"):
        stale_work(Project(root), Plan(root), anything, threads=1)


def test_a_cell_for_a_gpu_is_another_spec_asks_for_one_and_is_refused_where_there_is_none(tmp_path):
    root = make_repository(tmp_path / "hub")
    project = Project(root)
    before = project.spec(CELL).hash
    listed = project.listed("minigrid", "ppo")
    envs = {CELL.env_id: {**listed.envs[CELL.env_id], "device": "cuda:64"}}
    project.write_listed("minigrid", "ppo", ListedRuns(envs, listed.runs))
    assert project.spec(CELL).hash != before
    (work,) = stale_work(Project(root), Plan(root), anything)
    assert [task.options["num_gpus"] for task in work.tasks] == [1, 1, 0], "only training needs it"
    with pytest.raises(HubError, match="device is 'cuda:64', but PyTorch sees"):
        train(root, RUNS[0])
    assert not (root / "data").exists()


def test_planned_cells_are_for_a_gpu_where_their_pipeline_has_one(tmp_path):
    root = make_repository(tmp_path / "hub")
    edit_yaml(root / PARAMS, lambda params: params["differs"].update(resources={"num_gpus": 0.25}))
    lines = planned_lines(Project(root), wanted_by([], "minigrid", "ppo"))
    add_lines(Project(root), lines)
    assert Project(root).spec(lines.cells[0]).device == "cuda"
    assert Project(root).spec(CELL).device == "cpu"


def test_another_setting_is_another_key_of_a_task(tmp_path):
    root = make_repository(tmp_path / "hub")
    (before,) = stale_work(Project(root), Plan(root), anything)
    edit_yaml(root / "pipelines/minigrid/params.yaml", lambda p: p["evaluation"].update(num_episodes=6))
    (after,) = stale_work(Project(root), Plan(root), anything)
    assert before.runs[0].key != after.runs[0].key


@pytest.mark.parametrize("path", sorted(ROOT.glob("pipelines/*/*/runs.yaml")), ids=lambda p: str(p.parent))
def test_lines_of_planned_cells_are_of_the_paper_scale_and_leave_no_trace_when_removed(path, tmp_path):
    root = make_repository(tmp_path / "hub")
    benchmark, agent = path.parts[-3:-1]
    target = root / path.relative_to(ROOT)
    before = target.read_text()
    lines = planned_lines(Project(root), wanted_by([], benchmark, agent))
    add_lines(Project(root), lines)
    cell = lines.cells[0]
    listed = Project(root).spec(cell)
    assert listed == Project(ROOT).spec(cell, "paper") or benchmark == "minigrid"
    line = Project(root).line(cell)
    assert (listed.scale, line and line.scale) == ("paper", "paper")
    assert set(lines.runs) <= set(Project(root).all_runs())
    assert not set(lines.runs) & set(planned_lines(Project(root), anything).runs)
    remove_lines(Project(root), lines)
    assert target.read_text() == before


def write_release(root, *rows):
    lines = "".join(
        f"  - {{cell: {cell}, num_train_steps: {steps}, num_seeds: {n}}}\n" for cell, steps, n in rows
    )
    (root / "release.yaml").write_text(f"cells:\n{lines}")


def test_the_release_adds_new_cells_and_more_seeds_in_its_order_and_leaves_no_trace_when_removed(tmp_path):
    root, other = make_repository(tmp_path / "hub"), Cell("atari", "ppo", "Pong-v5")
    files = [root / RUNS_FILE, root / "pipelines/atari/ppo/runs.yaml"]
    before = [file.read_text() for file in files]
    write_release(root, (CELL, 1024, 3), (other, 5000, 2))
    lines = release_lines(Project(root), anything)
    assert lines.runs == [Run(CELL, 2), Run(other, 0), Run(other, 1)]
    add_lines(Project(root), lines)
    assert (Project(root).spec(other).num_train_steps, Project(root).spec(other).scale) == (5000, "published")
    works = lines.in_order(stale_work(Project(root), Plan(root), anything))
    assert [work.cell for work in works] == [CELL, other], "by name it would be the other way"
    made = [root / run.path(kind) for run in lines.runs for kind in ("curves", "train", "model")]
    for path in made:
        path.parent.mkdir(parents=True)
        path.write_text("finished")
    remove_lines(Project(root), lines)
    assert [file.read_text() for file in files] == before
    assert not any(path.exists() for path in made), "no stage that depends on a whole folder becomes stale"
    add_lines(Project(root), lines)
    assert all(path.read_text() == "finished" for path in made)


def test_lines_of_a_batch_that_was_killed_are_taken_back(tmp_path):
    root, other = make_repository(tmp_path / "hub"), Cell("atari", "ppo", "Pong-v5")
    file = root / "pipelines/atari/ppo/runs.yaml"
    before = file.read_text()
    write_release(root, (other, 5000, 2))
    add_lines(Project(root), release_lines(Project(root), anything))
    assert file.read_text() != before
    take_back(Project(root))
    assert file.read_text() == before
    take_back(Project(root))
    assert file.read_text() == before


def test_what_was_kept_of_a_task_counts_only_while_its_files_are_those(tmp_path):
    root = make_repository(tmp_path / "hub")
    (work,) = stale_work(Project(root), Plan(root), anything)
    task, place = work.runs[0], Checkout(root)
    path = RUNS[0].path("curves")
    entry = {"cmd": "x", "outs": [{"path": path, "hash": "md5", "md5": md5(b"one"), "size": 3}]}
    place.keep(root, task, {task.stages[0].address: entry_text(entry)})
    (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes(b"one")
    assert list(place.kept(root, task)) == [task.stages[0].address]
    (root / path).write_bytes(b"two")
    assert place.kept(root, task) == {}
    place.forget([task])
    assert not list((root / "scratch").glob("**/*.json"))


def test_a_release_is_checked_before_anything_is_listed(tmp_path):
    root = make_repository(tmp_path / "hub")
    write_release(root, (CELL, 9, 3))
    with pytest.raises(HubError, match=r"cells.0 gives .* 9 env steps; its available runs have 1,024"):
        release_lines(Project(root), anything)
    write_release(root, (CELL, 1024, 3), ("MiniGrid/PPO/" + CELL.env_id, 1024, 2))
    with pytest.raises(HubError, match="a second time"):
        release_lines(Project(root), anything)
    write_release(root, (CELL, 1024, 0))
    with pytest.raises(HubError, match="write 1 or more"):
        release_lines(Project(root), anything)
    write_release(root, ("atari/ppo/Pongg-v5", 9, 3))
    with pytest.raises(UnknownNameError, match="Did you mean 'Pong-v5'"):
        release_lines(Project(root), anything)


def test_a_cell_at_the_paper_scale_with_other_hyperparameters_is_refused(tmp_path):
    root, cell = make_repository(tmp_path / "hub"), Cell("dmc", "sac", "walker_run")
    add_lines(Project(root), planned_lines(Project(root), wanted_by([str(cell)], None, None)))
    edit_yaml(root / "pipelines/dmc/sac/params.yaml", lambda params: params["paper"].update(batch_size=3))
    with pytest.raises(HubError, match=r"envs.walker_run.hyperparameters is .* at this scale write"):
        Project(root).spec(cell)


def test_a_cell_with_hyperparameters_of_its_own_is_listed_with_them(tmp_path):
    root, cell = make_repository(tmp_path / "hub"), Cell("procgen", "daac", "dodgeball")
    write_release(root, (cell, 9, 1))
    add_lines(Project(root), release_lines(Project(root), anything))
    assert Project(root).spec(cell).hyperparameters.value_freq == 32
    edit_yaml(
        root / "pipelines/procgen/daac/params.yaml", lambda p: p["by_env"]["dodgeball"].update(gamma=0.5)
    )
    with pytest.raises(HubError, match=r"envs.dodgeball.hyperparameters is .* at this scale write"):
        Project(root).spec(cell)


def list_datasets_of(root, *levels):
    project = Project(root)
    listed = project.listed("minigrid", "ppo")
    lines = {f"{CELL.env_id}/{level}": {"env_id": CELL.env_id, "level": level} for level in levels}
    project.write_listed("minigrid", "ppo", replace(listed, datasets=lines, videos={CELL.env_id: {}}))


def test_demonstrations_are_made_after_all_runs_of_their_cell(empty, tmp_path):
    root = shutil.copytree(empty, tmp_path / "hub")
    list_datasets_of(root, "random", "expert")
    (work,) = stale_work(Project(root), Plan(root), anything)
    kinds = [stage.kind for stage in work.last.stages]
    assert kinds == ["export", "export", "collect", "film", "demonstrate", "demonstrate"]
    rest = work.finish({str(RUNS[0])})
    assert [stage.kind for stage in rest.stages] == ["export"], "the best run is not known yet"


def test_only_demonstrations_that_are_not_there_are_made(checkout):
    list_datasets_of(checkout, "random")
    (work,) = stale_work(Project(checkout), Plan(checkout), anything)
    assert work.runs == []
    assert [(stage.kind, stage.target) for stage in work.last.stages] == [
        ("film", str(CELL)),
        ("demonstrate", f"{CELL}/random"),
    ]


def test_the_release_lists_demonstrations_and_videos_of_available_cells_only(checkout):
    (checkout / "release.yaml").write_text(
        "cells: []\ndatasets:\n  - {cells: minigrid/*, levels: [random, noise]}\n"
        "  - {cells: atari/ppo/*, levels: [expert]}\nvideos: ['minigrid/*/Empty*', atari/*]\n"
    )
    list_extras(Project(checkout))
    assert [str(one) for one in Project(checkout).datasets("minigrid", "ppo")] == [
        f"{CELL}/noise",
        f"{CELL}/random",
    ]
    assert Project(checkout).videos("minigrid", "ppo") == [CELL]
    assert Project(checkout).datasets("atari", "ppo") == Project(checkout).videos("atari", "ppo") == []
    (checkout / "release.yaml").write_text("cells: []\ndatasets:\n  - {cells: x, levels: [experts]}\n")
    with pytest.raises(UnknownNameError, match=r"Unknown level 'experts' for release\.yaml: datasets\.0"):
        list_extras(Project(checkout))


def test_a_dataset_with_another_name_than_its_key_is_refused(checkout):
    edit_yaml(
        checkout / RUNS_FILE,
        lambda listed: listed.update(datasets={"x/random": {"env_id": CELL.env_id, "level": "random"}}),
    )
    with pytest.raises(HubError, match=f"datasets.x/random is .* rename the key to {CELL.env_id}/random"):
        Project(checkout).datasets("minigrid", "ppo")
