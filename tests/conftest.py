"""A small hub of its own for each test session, made by the real pipeline, with caches of its own."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rllte.names import Cell, Run
from rllte.recipes.project import runs_text
from rllte.recipes.schema import ListedRuns

# threads of PyTorch that wait give their core to the other test process; read when torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).parents[1]
CELL = Cell("minigrid", "ppo", "Empty-5x5-v0")
RUNS = [Run(CELL, 0), Run(CELL, 1)]
TINY = {"num_points": 2, "num_eval_episodes": 2, "num_eval_envs": 2, "checkpoint_steps": 512}


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    """Give each test a cache of its own and no settings of the developer's."""
    for name in list(os.environ):
        if name.startswith("RLLTE_HUB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "dvc-global"))


def run_program(*arguments, cwd, **kwargs):
    """Run a program of the environment that the tests run in."""
    program, *rest = arguments
    path = str(Path(sys.executable).parent / program)
    command = [path if Path(path).exists() else program, *map(str, rest)]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "PATH": path_of_python()}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=True, **kwargs
    )


def path_of_python():
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def wait_for(condition, process=None, timeout_s=480):
    """Return what is found while the process runs; one that is too late is ended, not left running."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        in_time = time.monotonic() < end
        if process and not in_time:
            process.terminate()
        assert in_time, process and process.communicate()[1]
        assert not process or process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    return found


def git(root, *arguments):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return run_program("git", *identity, *arguments, cwd=root)


def edit_yaml(path, change):
    yaml = YAML()
    content = yaml.load(path.read_text())
    change(content)
    with path.open("w") as file:
        yaml.dump(content, file)


def make_repository(root):
    """Make a checkout with the pipelines of this project and budgets of seconds, nothing trained yet."""
    for name in (
        "pipelines",
        "references",
        "dvc.yaml",
        "params.yaml",
        ".dvcignore",
        ".gitignore",
        ".dvc/config",
        ".dvc/.gitignore",
    ):
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("dvc.lock"))
        else:
            shutil.copy(source, target)
    table = "<!-- support table: begin -->\n<!-- support table: end -->\n"
    (root / "README.md").write_text(f"# Hub\n{table}")

    def shorten(params):
        params["train"].update(TINY)
        params["evaluation"].update({"num_episodes": 4, "num_envs": 2})

    def shrink(params):
        params["hyperparameters"].update({"num_steps": 32, "n_epochs": 2})

    edit_yaml(root / "params.yaml", lambda params: params.update({"tables": ["minigrid/ppo"]}))
    for path in root.glob("pipelines/*/*/runs.yaml"):
        path.write_text(runs_text(ListedRuns({}, {})))
    runs = {f"{CELL.env_id}/seed-{run.seed}": {"env_id": CELL.env_id, "seed": run.seed} for run in RUNS}
    (root / "pipelines/minigrid/ppo/runs.yaml").write_text(
        runs_text(ListedRuns({CELL.env_id: {"num_train_steps": 1024}}, runs))
    )
    edit_yaml(root / "pipelines/minigrid/params.yaml", shorten)
    edit_yaml(root / "pipelines/minigrid/ppo/params.yaml", shrink)
    git(root, "init", "-q")
    return root


def make_runs(root):
    """Train, evaluate and export the runs of a repository, and collect their cell, without DVC."""
    from rllte.stages.collect import collect
    from rllte.stages.evaluate import evaluate
    from rllte.stages.export import export
    from rllte.stages.train import train

    for run in RUNS:
        train(root, run)
        evaluate(root, run)
        export(root, run)
    collect(root, CELL)


def record(root):
    """Pack and list what was collected, record it with DVC, and push it."""
    from rllte.publish.catalogue import build_catalogue
    from rllte.publish.table_archives import pack_tables

    run_program("dvc", "commit", "-q", "-f", "pipelines/minigrid/ppo/dvc.yaml", cwd=root)
    pack_tables(root, "minigrid/ppo")
    build_catalogue(root)
    run_program("dvc", "commit", "-q", "-f", "dvc.yaml", cwd=root)
    run_program("dvc", "push", "-q", cwd=root)


@pytest.fixture(scope="session")
def published_hub(tmp_path_factory):
    """A hub with one cell of two runs, trained, recorded by DVC, pushed and committed. Not to be changed."""
    root = make_repository(tmp_path_factory.mktemp("hub") / "hub")
    make_runs(root)
    record(root)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "publish")
    return root


@pytest.fixture
def hub(published_hub, tmp_path, monkeypatch):
    """A fresh clone of the hub: catalogue and remote are there, nothing is pulled."""
    root = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(published_hub), str(root))
    monkeypatch.setenv("RLLTE_HUB_REPO", str(root))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "dvc-site"))
    return root
