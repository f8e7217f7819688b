"""The runner as its user has it: the command, on Ray, in a small hub of its own."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from rllte.cli import main
from rllte.errors import HubError
from rllte.files import md5
from rllte.hub.store.catalogue import read_catalogue
from rllte.runner.batch import Options, run_batch
from rllte.runner.locks import read_lock
from rllte.runner.staleness import Plan
from tests.conftest import CELL, RUNS, edit_yaml, git, run_program
from tests.runner.conftest import LOCK, hashes, is_clean, make_untrained, run

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


@dataclass
class Story:
    """What was seen of a batch in which a run of a listed cell and one of a planned cell fail."""

    root: Path
    errors: str
    listed_before: str
    blocked: Path


PLANNED = ("minigrid/ppo/Empty-6x6-v0", "minigrid/ppo/Empty-8x8-v0")


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    root = make_untrained(tmp_path_factory.mktemp("failures") / "hub")

    def shorten(params):
        params["support"].update(num_train_steps=512, num_seeds=1)

    edit_yaml(root / "pipelines/minigrid/params.yaml", shorten)
    blocked = root / f"data/runs/{PLANNED[1]}/seed-0"
    for path in (root / Path(RUNS[0].path("policy")).parent, blocked):
        path.parent.mkdir(parents=True)
        path.write_text("a file where a folder belongs")
    before = (root / "pipelines/minigrid/ppo/runs.yaml").read_text()
    errors = run(root, "--planned", "--jobs", 1, CELL, *PLANNED, code=1)
    return Story(root, errors, before, blocked)


def test_a_failing_run_does_not_stop_the_others(story, published_hub):
    root, errors = story.root, story.errors
    assert re.search(rf"^{RUNS[0]}: FileExistsError: .*\(scratch/logs/{RUNS[0]}.log\)$", errors, re.MULTILINE)
    assert "Traceback" in (root / f"scratch/logs/{RUNS[0]}.log").read_text()
    assert "dvc.yaml" not in errors, "a cell that is not whole is left out of the catalogue"
    assert read_catalogue(root).cells[str(CELL)]["status"] == "planned"
    recorded = {name for name in read_lock(root / LOCK) if CELL.env_id in name}
    assert recorded == {f"{kind}@{CELL.env_id}/seed-1" for kind in ("train", "evaluate", "export")}
    model = RUNS[1].path("model")
    assert md5((root / model).read_bytes()) == hashes(published_hub)[model]


def test_a_planned_cell_gets_its_lines_when_it_is_done_and_not_before(story):
    listed = (story.root / "pipelines/minigrid/ppo/runs.yaml").read_text().splitlines()
    assert set(listed) - set(story.listed_before.splitlines()) == {
        "  Empty-6x6-v0: {num_train_steps: 512, scale: paper}",
        "  Empty-6x6-v0/seed-0: {env_id: Empty-6x6-v0, seed: 0}",
    }
    assert {name for name in read_lock(story.root / LOCK) if CELL.env_id not in name} == {
        *(f"{kind}@Empty-6x6-v0/seed-0" for kind in ("train", "evaluate", "export")),
        "collect@Empty-6x6-v0",
    }
    assert not story.blocked.exists(), "what is not listed lies in no folder that a stage depends on"
    (row,) = read_catalogue(story.root).rows("available")
    assert (row["env_id"], row["interval"]) == ("Empty-6x6-v0", None), "one seed says nothing of others"


def test_a_cell_is_finished_before_the_next_is_begun(story):
    ended = re.findall(r"^\d/\d minigrid/ppo/(\S+): (done|failed)", story.errors, re.MULTILINE)
    assert ended == [
        (f"{CELL.env_id}/seed-0", "failed"),
        (f"{CELL.env_id}/seed-1", "done"),
        (CELL.env_id, "done"),
        ("Empty-6x6-v0/seed-0", "done"),
        ("Empty-6x6-v0", "done"),
        ("Empty-8x8-v0/seed-0", "failed"),
    ]


def test_a_published_cell_stays_as_it_is_when_a_new_seed_fails(published_hub, tmp_path):
    root = shutil.copytree(published_hub, tmp_path / "hub", symlinks=True)
    row = f"{{cell: {CELL}, num_train_steps: 1024, num_seeds: {len(RUNS) + 1}}}"
    (root / "release.yaml").write_text(f"cells:\n  - {row}\n")
    blocked = root / f"models/{CELL}/seed-{len(RUNS)}"
    blocked.write_text("a file where a folder belongs")
    before = git(root, "status", "--short").stdout
    errors = run(root, "--release", "--jobs", 1, code=1)
    assert f"1/2 {CELL}/seed-{len(RUNS)}: done" in errors, errors
    assert "FileExistsError" in errors
    assert git(root, "status", "--short").stdout == before
    assert is_clean(root)
    (root / f"scratch/aside/models/{CELL}/seed-{len(RUNS)}").unlink()
    errors = run(root, "--release", "--jobs", 1)
    assert f"train {CELL}/seed-{len(RUNS)}" not in errors, "what was finished is kept"
    assert read_catalogue(root).cells[str(CELL)]["num_seeds"] == len(RUNS) + 1
    assert is_clean(root)


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
