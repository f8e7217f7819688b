import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rllte.runner import locks as lock
from rllte.runner.dvc_records import open_repository
from rllte.runner.staleness import Plan
from tests.conftest import CELL, ROOT, RUNS, edit_yaml, run_program

pytestmark = pytest.mark.slow

FOLDER = Path("pipelines/minigrid/ppo")
OUTPUTS = [
    *(run.path(kind) for run in RUNS for kind in ("curves", "policy", "scores", "model", "train")),
    CELL.path("curves"),
    CELL.path("scores"),
]
STAGES = [f"{kind}@{CELL.env_id}/seed-{run.seed}" for kind in ("train", "evaluate", "export") for run in RUNS]
STAGES.append(f"collect@{CELL.env_id}")


def set_value(path, *keys):
    def mutate(root):
        def change(values):
            for key in keys[:-2]:
                values = values[key]
            values[keys[-2]] = keys[-1]

        edit_yaml(root / path, change)

    return mutate


def cached(root, path):
    for stage in lock.read_lock(root / FOLDER / "dvc.lock").values():
        if path in stage["outs"]:
            digest = stage["outs"][path]
            return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    raise KeyError(path)


def edit_lock(name, change):
    def mutate(root):
        edit_yaml(root / FOLDER / "dvc.lock", lambda content: change(content["stages"], name))

    return mutate


def append(path):
    def mutate(root):
        data = (root / path).read_bytes()
        (root / path).unlink()
        (root / path).write_bytes(data + b" ")

    return mutate


MUTATIONS = [
    set_value(FOLDER / "params.yaml", "hyperparameters", "learning_rate", 0.5),
    set_value(FOLDER / "params.yaml", "version", 2),
    set_value(FOLDER / "runs.yaml", "envs", CELL.env_id, "num_train_steps", 2048),
    set_value(FOLDER / "params.yaml", "differs", "evaluation", "num_envs", 4),
    set_value(FOLDER / "params.yaml", "source", "another text"),
    set_value(FOLDER / "runs.yaml", "runs", f"{CELL.env_id}/seed-7", {"env_id": CELL.env_id, "seed": 7}),
    set_value("pipelines/minigrid/params.yaml", "train", "num_points", 3),
    set_value("pipelines/minigrid/params.yaml", "evaluation", "num_episodes", 6),
    set_value("pipelines/minigrid/params.yaml", "support", "num_seeds", 3),
    *(append(path) for path in OUTPUTS),
    *(lambda root, path=path: (root / path).unlink() for path in OUTPUTS),
    *(lambda root, path=path: cached(root, path).unlink() for path in OUTPUTS),
    *(edit_lock(name, lambda stages, name: stages.pop(name)) for name in STAGES),
    *(edit_lock(name, lambda stages, name: stages[name].update(cmd="echo")) for name in STAGES),
    *(edit_lock(name, lambda stages, name: stages[name]["outs"][0].update(md5="0" * 32)) for name in STAGES),
]


def stale_by_dvc(root):
    with open_repository(root) as repo:  # starting the command takes longer than its work
        return {address for address in repo.status() if address.startswith("pipelines/")}


@pytest.fixture(scope="module")
def checkout(published_hub, tmp_path_factory):
    """Return a function that gives a fresh copy of the published hub, without empty pipelines."""

    def copy():
        root = tmp_path_factory.mktemp("plan") / "hub"
        shutil.copytree(published_hub, root)
        for folder in root.glob("pipelines/*/*/"):
            if folder.is_dir() and folder != root / FOLDER:
                shutil.rmtree(folder)
        return root

    return copy


def test_a_clean_repository_has_nothing_stale(checkout):
    plan = Plan(checkout())
    assert len([address for address in plan.stages if "minigrid/ppo" in address]) == len(STAGES)
    assert plan.reasons == {}


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sets(st.sampled_from(range(len(MUTATIONS))), min_size=1, max_size=2))
def test_what_is_stale_is_what_dvc_says(checkout, chosen):
    root = checkout()
    Plan(root)  # remembers hashes, which must not hide what changes now
    for number in sorted(chosen):
        MUTATIONS[number](root) if not _gone(root, number) else None
    assert set(Plan(root).reasons) == stale_by_dvc(root)


def _gone(root, number):
    """Return whether an earlier mutation took away what this one works on."""
    trial = root.with_name("trial")
    shutil.copytree(root, trial)
    try:
        MUTATIONS[number](trial)
    except (FileNotFoundError, KeyError):
        return True
    finally:
        shutil.rmtree(trial)
    return False


def test_reasons_name_the_setting_and_the_file(checkout):
    root = checkout()
    set_value(FOLDER / "params.yaml", "hyperparameters", "learning_rate", 0.5)(root)
    (root / RUNS[1].path("model")).unlink()
    reasons = Plan(root).reasons
    assert reasons[f"{FOLDER}/dvc.yaml:train@{CELL.env_id}/seed-0"] == [
        ("changed", f"{FOLDER}/params.yaml: hyperparameters")
    ]
    assert reasons[f"{FOLDER}/dvc.yaml:export@{CELL.env_id}/seed-1"] == [("absent", RUNS[1].path("model"))]


def test_recorded_outputs_are_lost_unless_stale_stages_make_them_again(checkout):
    root = checkout()
    shutil.rmtree(root / ".dvc/cache")
    stages = Plan(root).stages.values()
    assert set(Plan(root).lost()) == {out for stage in stages for out in stage.outs}
    set_value(FOLDER / "params.yaml", "hyperparameters", "learning_rate", 0.5)(root)
    assert Plan(root).lost() == [CELL.path("curves"), CELL.path("scores")]


def test_the_users_own_settings_say_where_dvcs_cache_is(checkout, tmp_path, monkeypatch):
    root = checkout()
    shared = tmp_path / "shared"
    (root / ".dvc/cache").rename(shared)
    assert len(Plan(root).absent()) == 7
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config").write_text(f"[cache]\n    dir = {shared}\n")
    assert Plan(root).absent() == []
    run_program("dvc", "status", cwd=root)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("pipelines/*/*/dvc.lock")), ids=lambda path: path.parent.name
)
def test_a_lock_is_read_by_its_form_as_the_yaml_parser_reads_it(path):
    parsed = lock._parse(path.read_text())["stages"]
    assert lock.read_lock(path) == {name: lock._entry(entry) for name, entry in parsed.items()}


def test_a_lock_of_another_form_is_left_to_the_yaml_parser(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_text('stages: {a: {cmd: echo, outs: [{path: x, hash: md5, md5: "12"}]}}\n')
    assert lock.read_lock(path) == {"a": {"cmd": "echo", "params": {}, "deps": {}, "outs": {"x": "12"}}}
    path.write_text('stages:\n  a:\n    cmd: echo\n    outs:\n    - path: >-\n        x y\n      md5: "12"\n')
    assert lock.read_lock(path) == {"a": {"cmd": "echo", "params": {}, "deps": {}, "outs": {"x y": "12"}}}
