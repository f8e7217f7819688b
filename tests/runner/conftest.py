"""The runner in a small hub in which nothing is trained."""

import os
import subprocess
import sys

import pytest

from rllte.files import md5
from tests.conftest import CELL, RUNS, edit_yaml, git, make_repository, path_of_python, run_program

LOCK = "pipelines/minigrid/ppo/dvc.lock"
OUTPUTS = [run.path(kind) for run in RUNS for kind in ("curves", "policy", "scores", "model")]
OUTPUTS += [CELL.path("curves"), CELL.path("scores")]


def start(root, *options):
    program = [sys.executable, "-c", "from rllte.cli import main; main()", "run"]
    environment = {**os.environ, "PATH": path_of_python(), "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [*program, *map(str, options)], cwd=root, env=environment, stderr=subprocess.PIPE, text=True
    )


def run(root, *options, code=0):
    process = start(root, *options)
    _, errors = process.communicate(timeout=480)
    assert process.returncode == code, errors
    return errors


def hashes(root):
    return {path: md5((root / path).read_bytes()) for path in OUTPUTS}


def is_clean(root):
    return "up to date" in run_program("dvc", "status", cwd=root).stdout


def make_untrained(root):
    """Make a hub in which nothing is trained, and whose params.yaml names no agent with published cells."""
    make_repository(root)
    edit_yaml(root / "params.yaml", lambda params: params.update({"tables": []}))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    return root


@pytest.fixture
def untrained(tmp_path):
    """A hub in which nothing is trained."""
    return make_untrained(tmp_path / "hub")
