import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors

from rllte import tables
from rllte.errors import HubError, MissingArtifactError
from rllte.files import md5
from rllte.hub.store.catalogue import read_catalogue
from rllte.names import Cell
from rllte.publish.catalogue import build_catalogue, support_table
from rllte.recipes.project import Project
from rllte.seeding import env_seeds
from rllte.stages.collect import collect
from rllte.stages.evaluate import evaluate
from rllte.stages.export import _check_outputs, export
from rllte.stages.train import load_policy, train
from tests.conftest import CELL, ROOT, RUNS, edit_yaml, make_repository, path_of_python, run_program

pytestmark = pytest.mark.slow

KINDS = ("curves", "policy", "scores", "model")


def hashes(root, kinds=KINDS, run=RUNS[0]):
    return {kind: md5((root / run.path(kind)).read_bytes()) for kind in kinds}


def command(root, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", "from rllte.cli import main; main()", *arguments],
        cwd=root,
        env={**os.environ, "PATH": path_of_python()},
        stderr=subprocess.DEVNULL,
    )


def test_a_rerun_in_another_folder_and_process_gives_the_same_bytes(published_hub, tmp_path):
    root = make_repository(tmp_path / "elsewhere")
    program = (
        "from rllte.cli import main\n"
        "for stage in ('train', 'evaluate', 'export'):\n"
        f"    main([stage, {str(RUNS[0])!r}], standalone_mode=False)"
    )
    run_program("python", "-c", program, cwd=root)
    assert hashes(root) == hashes(published_hub)


def test_training_killed_in_the_middle_goes_on_to_the_same_bytes(published_hub, tmp_path):
    root = make_repository(tmp_path / "killed")
    process = command(root, "train", str(RUNS[0]))
    deadline = time.monotonic() + 120
    while not list(root.glob("scratch/**/resume.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (root / RUNS[0].path("policy")).exists(), "outputs appear only at the end"
    assert command(root, "train", str(RUNS[0])).wait(timeout=120) == 0
    kinds = ("curves", "policy")
    assert hashes(root, kinds) == hashes(published_hub, kinds)
    assert json.loads((root / RUNS[0].path("train")).read_text())["resumed_at_env_step"] == 512
    assert not list(root.glob("scratch/**/resume.pt"))


def test_published_files_say_what_made_them(published_hub):
    spec = Project(published_hub).spec(CELL)
    expected = {
        "format": "1",
        "run": str(RUNS[0]),
        "scale": "published",
        "num_train_steps": "1024",
        "spec": spec.hash,
    }
    for kind in ("curves", "scores"):
        metadata = tables.pa.parquet.read_metadata(published_hub / RUNS[0].path(kind)).metadata
        assert {key: metadata[key.encode()].decode() for key in expected} == expected
    with safetensors.safe_open(published_hub / RUNS[0].path("policy"), "numpy") as policy:
        assert json.loads(policy.metadata()["rllte_hub"]) == expected


def test_another_setting_is_another_spec(published_hub, tmp_path):
    root = make_repository(tmp_path / "other")
    before = Project(root).spec(CELL).hash
    assert before == Project(published_hub).spec(CELL).hash
    edit_yaml(root / "pipelines/minigrid/ppo/params.yaml", lambda p: p["hyperparameters"].update(gamma=0.9))
    assert Project(root).spec(CELL).hash != before


def test_seeds_of_training_and_evaluation_never_meet():
    training = {seed for run in range(20) for part in range(20) for seed in env_seeds(run, "train", part, 8)}
    training |= {
        seed for run in range(20) for part in range(20) for seed in env_seeds(run, "extend", part, 8)
    }
    others = {
        seed
        for run in range(20)
        for part in range(20)
        for purpose in ("curve", "score")
        for seed in env_seeds(run, purpose, part, 8)
    }
    assert max(training) < 2**30 <= min(others)
    assert max(others) < 2**31


def test_scores_have_every_episode_of_the_protocol(published_hub):
    table = tables.read_parquet(
        (published_hub / RUNS[0].path("scores")).read_bytes(), tables.SCORES, "scores"
    )
    assert table.column("episode").to_pylist() == [0, 1, 2, 3]
    assert set(table.column("split").to_pylist()) == {"eval"}


def test_export_refuses_scores_that_the_model_does_not_replay(published_hub, tmp_path):
    root = tmp_path / "copy"
    run_program("git", "clone", "-q", published_hub, root, cwd=tmp_path)
    for kind in ("policy", "scores"):
        target = root / RUNS[0].path(kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((published_hub / RUNS[0].path(kind)).read_bytes())
    path = root / RUNS[0].path("scores")
    table = tables.read_parquet(path.read_bytes(), tables.SCORES, "scores")
    wrong = np.asarray(table.column("episode_return")) + np.float32(0.5)
    index = table.schema.get_field_index("episode_return")
    path.write_bytes(tables.to_parquet(table.set_column(index, table.schema.field(index), [wrong])))
    with pytest.raises(HubError, match="the model's episodes return"):
        export(root, RUNS[0])
    assert not (root / RUNS[0].path("model")).exists()


def test_export_refuses_a_model_whose_outputs_are_off_by_more_than_its_tolerance(published_hub):
    spec = Project(published_hub).spec(CELL)
    agent = load_policy(published_hub, RUNS[0], spec)

    def off_by(difference):
        return lambda obs: agent.policy(obs) + difference

    _check_outputs(off_by(0.0), agent, spec, RUNS[0])
    with pytest.raises(HubError, match=f"{RUNS[0]}: the model's outputs differ from the policy's by"):
        _check_outputs(off_by(3e-5), agent, spec, RUNS[0])


def test_stages_without_their_inputs_say_what_to_do(tmp_path):
    root = make_repository(tmp_path / "empty")
    with pytest.raises(MissingArtifactError, match=r"policy.safetensors is not here. Get it with: dvc pull"):
        evaluate(root, RUNS[0])
    with pytest.raises(MissingArtifactError, match=r"Make it with: dvc repro pipelines/minigrid"):
        collect(root, CELL)


def test_collect_refuses_runs_with_other_points(published_hub, tmp_path):
    root = make_repository(tmp_path / "mixed")
    train(root, RUNS[0])
    edit_yaml(root / "pipelines/minigrid/params.yaml", lambda p: p["train"].update(num_points=1))
    train(root, RUNS[1])
    with pytest.raises(HubError, match="has other values of env_step than"):
        collect(root, CELL)


def test_dvc_calls_the_published_hub_clean_and_pulls_single_artifacts(hub):
    address = "pipelines/minigrid/ppo/dvc.yaml"
    run_program("dvc", "pull", "-q", f"{address}:export@Empty-5x5-v0/seed-1", cwd=hub)
    pulled = [path for folder in ("data", "models") for path in hub.glob(f"{folder}/**/*") if path.is_file()]
    assert [str(path.relative_to(hub)) for path in pulled] == [RUNS[1].path("model")]
    run_program("dvc", "pull", "-q", f"{address}:collect@Empty-5x5-v0", cwd=hub)
    assert (hub / CELL.path("curves")).exists()
    assert not (hub / RUNS[0].path("curves")).exists()
    run_program("dvc", "pull", "-q", cwd=hub)
    assert "up to date" in run_program("dvc", "status", cwd=hub).stdout
    assert "up to date" in run_program("dvc", "repro", "--dry", "--pull", cwd=hub).stdout


def test_the_catalogue_lists_every_artifact_with_the_hashes_that_dvc_has(published_hub):
    catalogue = read_catalogue(published_hub)
    assert len(catalogue.artifacts) == 3 + len(RUNS) * len(KINDS)
    for run in RUNS:
        for kind, digest in hashes(published_hub, run=run).items():
            assert catalogue.artifact(run, kind).md5 == digest
    assert {row["status"] for row in catalogue.cells.values()} == {"available", "planned"}


def test_the_catalogue_refuses_a_file_that_dvc_did_not_record(hub):
    run_program("dvc", "pull", "-q", cwd=hub)
    path = hub / CELL.path("scores")
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data + b"x")
    with pytest.raises(HubError, match=r"scores.parquet has md5 .*; dvc.lock says"):
        build_catalogue(hub)


def test_the_catalogue_refuses_a_cell_whose_tables_are_older_than_its_runs(hub):
    run_program("dvc", "pull", "-q", cwd=hub)
    lock = hub / "pipelines/minigrid/ppo/dvc.lock"
    digest = hashes(hub, run=RUNS[0])["curves"]
    train, rest = lock.read_text().split("  train@Empty-5x5-v0/seed-1:")
    assert digest in train
    lock.write_text(f"{train.replace(digest, '0' * 32)}  train@Empty-5x5-v0/seed-1:{rest}")
    with pytest.raises(HubError, match=rf"{CELL}: its tables are older .* rllte-hub run {CELL}"):
        build_catalogue(hub)


def test_a_cell_is_not_collected_beside_a_run_that_is_not_listed(hub):
    run_program("dvc", "pull", "-q", cwd=hub)
    (hub / f"data/runs/{CELL}/seed-7").mkdir()
    with pytest.raises(HubError, match=r"/seed-7 is not listed under runs: of pipelines/minigrid/ppo"):
        collect(hub, CELL)


def test_the_catalogue_refuses_a_cell_that_was_made_with_other_settings(hub):
    run_program("dvc", "pull", "-q", cwd=hub)
    edit_yaml(
        hub / "pipelines/minigrid/ppo/runs.yaml",
        lambda listed: listed["envs"][CELL.env_id].update(num_train_steps=2048),
    )
    with pytest.raises(HubError, match=rf"\(1024 env steps\); .* \(2048\). Run: rllte-hub run {CELL}"):
        build_catalogue(hub)
    before = (hub / "catalogue.json").read_bytes()
    with pytest.raises(subprocess.CalledProcessError):
        run_program("dvc", "repro", "-q", "--single-item", "catalogue", cwd=hub)
    assert (hub / "catalogue.json").read_bytes() == before, "what stood there stays"


def test_the_support_table_counts_published_and_planned():
    both = {"benchmark": "dmc", "agent": "sac"}
    cells = [
        {**both, "env_id": "a", "status": "available", "seeds": [0, 1], "num_train_steps": 5},
        {**both, "env_id": "b", "status": "planned", "num_train_steps": 9},
    ]
    assert support_table(cells).splitlines()[-1] == "| dmc | sac | `a` | 2 | 5 | 1 |"


@pytest.mark.parametrize(
    ("agent", "env_id", "num_train_steps"),
    [
        ("sac", "walker_run", 2_000_000),
        ("sac", "humanoid_run", 10_000_000),
        ("drqv2", "humanoid_run", 500_000),
    ],
)
def test_budgets_of_the_paper_scale_differ_by_environment_and_agent(agent, env_id, num_train_steps):
    assert Project(ROOT).spec(Cell("dmc", agent, env_id), "paper").num_train_steps == num_train_steps


def test_settings_of_one_environment_count_at_both_scales():
    for scale, value_epochs in (("published", 1), ("paper", 1)):
        settings = Project(ROOT).spec(Cell("procgen", "daac", "plunder"), scale).hyperparameters
        assert (settings.value_epochs, settings.value_freq, settings.adv_coef) == (value_epochs, 8, 0.3)
    assert Project(ROOT).spec(Cell("procgen", "daac", "coinrun"), "paper").hyperparameters.value_epochs == 9


def test_an_agent_may_need_other_environments_than_its_benchmark_has():
    spec = Project(ROOT).spec(Cell("dmc", "drqv2", "walker_run"))
    assert spec.env["training"] == spec.env["evaluation"] == {
        "from_pixels": True, "frame_stack": 3, "action_repeat": 2
    }  # fmt: skip
    assert Project(ROOT).spec(Cell("dmc", "sac", "walker_run")).env == {}


def test_procgen_is_scored_on_unseen_and_on_training_levels():
    spec = Project(ROOT).spec(Cell("procgen", "ppo", "coinrun"))
    assert spec.splits == {"eval": "evaluation", "train_levels": "train_levels"}
    assert spec.env["train_levels"] == spec.env["training"]
    assert spec.env["evaluation"]["start_level"] == spec.env["training"]["num_levels"]
