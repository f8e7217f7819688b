"""The runner as its user has it: the command, on Ray, in a small hub of its own."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllte.cli import main
from rllte.errors import HubError
from rllte.files import md5
from rllte.hub.store.catalogue import read_catalogue
from rllte.recipes.project import Project
from rllte.recipes.schema import ListedRuns
from rllte.runner.batch import Options, run_batch
from rllte.runner.locks import read_lock
from rllte.runner.ray_tasks import execute
from rllte.runner.staleness import Plan
from rllte.runner.tasks import Outcome, stale_work
from rllte.runner.workspaces import Checkout
from tests.conftest import CELL, RUNS, edit_yaml, git, run_program
from tests.runner.conftest import LOCK, hashes, is_clean, run

pytestmark = pytest.mark.slow


def test_a_batch_gives_the_bytes_of_the_stages_one_by_one_and_dvc_calls_it_clean(untrained, published_hub):
    errors = run(untrained)
    assert hashes(untrained) == hashes(published_hub)
    assert is_clean(untrained)
    assert "up to date" in run_program("dvc", "repro", "--dry", cwd=untrained).stdout
    bundle = "data/tables/minigrid/ppo.zip"
    assert (untrained / bundle).read_bytes() == (published_hub / bundle).read_bytes()
    assert re.search(rf"^\d/3 {CELL}: done$", errors, re.MULTILINE), "plain lines in a pipe"
    assert f"train {RUNS[1]}\n" in (untrained / f"scratch/logs/{RUNS[1]}.log").read_text()
    # what no run touches any more is neither run nor recorded again
    before = (untrained / LOCK).stat().st_mtime_ns
    assert "0 tasks finished, 0 failed" in run(untrained)
    assert (untrained / LOCK).stat().st_mtime_ns == before


def test_what_is_recorded_but_not_here_is_pulled_not_trained(published_hub, tmp_path):
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(published_hub), str(root))
    assert "0 tasks finished, 0 failed" in run(root)
    assert hashes(root) == hashes(published_hub)


def test_what_cannot_be_pulled_is_not_trained(published_hub, tmp_path):
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(published_hub), str(root))
    with pytest.raises(HubError, match=r"recorded files .*remote 'typo' doesn't exist"):
        run_batch(root, Options(remote="typo"))
    (root / "remote").rename(root / "away")
    with pytest.raises(HubError, match=f"recorded files .*, such as {RUNS[0].path('curves')}"):
        run_batch(root, Options())
    assert Plan(root).absent(), "nothing was made anew"


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(untrained, monkeypatch):
    monkeypatch.chdir(untrained)
    result = CliRunner().invoke(main, ["run", "--dry-run", "--planned", "--agent", "a2c"])
    assert "to train minigrid/a2c: 160,000,000 env steps, no rate was measured" in result.output
    result = CliRunner().invoke(main, ["run", "--dry-run"])
    assert f"{RUNS[0]}: train, evaluate\n" in result.output
    assert git(untrained, "status", "--short").stdout == ""
    assert not (untrained / "scratch").exists()


def test_a_failing_run_does_not_stop_the_others(untrained, published_hub):
    blocked = untrained / Path(RUNS[0].path("policy")).parent
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder belongs")
    errors = run(untrained, code=1)
    assert re.search(rf"^{RUNS[0]}: FileExistsError: .*\(scratch/logs/{RUNS[0]}.log\)$", errors, re.MULTILINE)
    assert "Traceback" in (untrained / f"scratch/logs/{RUNS[0]}.log").read_text()
    assert "dvc.yaml" not in errors, "a cell that is not whole is left out of the catalogue"
    assert {row["status"] for row in json.loads((untrained / "catalogue.json").read_text())["cells"]} == {
        "planned"
    }
    recorded = {f"{kind}@{CELL.env_id}/seed-1" for kind in ("train", "evaluate", "export")}
    assert set(read_lock(untrained / LOCK)) == recorded
    assert (
        md5((untrained / RUNS[1].path("model")).read_bytes()) == hashes(published_hub)[RUNS[1].path("model")]
    )


def test_a_planned_cell_gets_its_lines_when_it_is_done_and_not_before(untrained):
    def shorten(params):
        params["support"].update(num_train_steps=512, num_seeds=1)

    edit_yaml(untrained / "pipelines/minigrid/params.yaml", shorten)
    cells = ("minigrid/ppo/Empty-6x6-v0", "minigrid/ppo/Empty-8x8-v0")
    blocked = untrained / f"data/runs/{cells[1]}/seed-0"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder belongs")
    before = (untrained / "pipelines/minigrid/ppo/runs.yaml").read_text()
    run(untrained, "--planned", *cells, code=1)
    added = set((untrained / "pipelines/minigrid/ppo/runs.yaml").read_text().splitlines()) - set(
        before.splitlines()
    )
    assert added == {
        "  Empty-6x6-v0: {num_train_steps: 512, scale: paper}",
        "  Empty-6x6-v0/seed-0: {env_id: Empty-6x6-v0, seed: 0}",
    }
    assert set(read_lock(untrained / LOCK)) == {
        *(f"{kind}@Empty-6x6-v0/seed-0" for kind in ("train", "evaluate", "export")),
        "collect@Empty-6x6-v0",
    }
    assert not blocked.exists(), "what is not listed lies in no folder that a stage depends on"
    (row,) = read_catalogue(untrained).rows("available")
    assert (row["env_id"], row["interval"]) == ("Empty-6x6-v0", None), "one seed says nothing of others"


def test_a_published_cell_stays_as_it_is_when_a_new_seed_fails(published_hub, tmp_path):
    root = shutil.copytree(published_hub, tmp_path / "hub", symlinks=True)
    row = f"{{cell: {CELL}, num_train_steps: 1024, num_seeds: {len(RUNS) + 1}}}"
    (root / "release.yaml").write_text(f"cells:\n  - {row}\n")
    blocked = root / f"models/{CELL}/seed-{len(RUNS)}"
    blocked.write_text("a file where a folder belongs")
    before = git(root, "status", "--short").stdout
    errors = run(root, "--release", code=1)
    assert f"1/2 {CELL}/seed-{len(RUNS)}: done" in errors, errors
    assert "FileExistsError" in errors
    assert git(root, "status", "--short").stdout == before
    assert is_clean(root)
    (root / f"scratch/aside/models/{CELL}/seed-{len(RUNS)}").unlink()
    errors = run(root, "--release")
    assert f"train {CELL}/seed-{len(RUNS)}" not in errors, "what was finished is kept"
    assert read_catalogue(root).cells[str(CELL)]["num_seeds"] == len(RUNS) + 1
    assert is_clean(root)


def test_a_cell_is_finished_before_the_next_is_begun(untrained):
    names = (CELL.env_id, "Empty-6x6-v0")
    envs = {name: {"num_train_steps": 1024} for name in names}
    runs = {f"{name}/seed-{n}": {"env_id": name, "seed": n} for name in names for n in (0, 1)}

    def nothing(_place, task, _board):
        return Outcome(task.name, {})

    project = Project(untrained)
    project.write_listed("minigrid", "ppo", ListedRuns(envs, runs))
    works = stale_work(project, Plan(untrained), lambda run: True)
    outcomes = execute(works, Checkout(untrained), {}, lambda rows: None, jobs=1, function=nothing)
    names = [outcome.task.removeprefix("minigrid/ppo/") for outcome in outcomes]
    cells = ["Empty-5x5-v0", "Empty-6x6-v0"]
    assert names == [name for cell in cells for name in (f"{cell}/seed-0", f"{cell}/seed-1", cell)]


def test_a_machine_without_what_a_run_asks_for_is_an_error_not_a_long_wait(untrained):
    edit_yaml(
        untrained / "pipelines/minigrid/params.yaml", lambda params: params.update(resources={"num_gpus": 64})
    )
    assert "asks for 64 GPU, but this machine has 0" in run(untrained, code=1)


def test_a_remote_that_is_a_folder_is_refused_for_a_cluster_without_a_shared_folder(untrained):
    errors = run(untrained, "--address", "127.0.0.1:1", code=1)
    assert "The DVC remote 'hub' is a folder on this machine, which other nodes cannot reach" in errors


def test_parameters_that_change_while_a_stage_runs_are_not_recorded(published_hub, tmp_path):
    from rllte.runner.dvc_records import record

    root = shutil.copytree(published_hub, tmp_path / "hub")
    plan = Plan(root)
    stage = plan.stages[f"pipelines/minigrid/ppo/dvc.yaml:train@{CELL.env_id}/seed-0"]
    settings = plan.settings(stage)
    entry = record(root, stage, settings)
    assert entry in (root / LOCK).read_text()
    edit_yaml(root / "pipelines/minigrid/params.yaml", lambda params: params["train"].update(num_points=1))
    with pytest.raises(HubError, match="its parameters changed while it ran"):
        record(root, stage, settings)
