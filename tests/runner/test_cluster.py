"""The runner on Ray nodes that share no folder, with a real S3 server between them."""

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from benchmarks.s3_server import S3Server, free_ports, s3_server
from tests.conftest import (
    CELL,
    RUNS,
    edit_yaml,
    git,
    make_repository,
    make_runs,
    path_of_python,
    run_program,
    wait_for,
)
from tests.runner.conftest import hashes, is_clean

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """A Ray head with one core; more nodes can be added. Each has a folder of its own."""

    folder: Path
    s3: S3Server
    environment: dict[str, str]
    port: int
    nodes: dict[int, subprocess.Popen] = field(default_factory=dict)

    @property
    def address(self):
        return f"127.0.0.2:{self.port}"

    def add_node(self, number, *options):
        folder = self.folder / f"node-{number}"
        folder.mkdir()
        command = ["ray", "start", "--block", "--num-cpus=1", f"--node-ip-address=127.0.0.{number}", *options]
        environment = {**self.environment, "RLLTE_TEST_NODE": str(folder)}
        with (folder / "log").open("w") as log:
            self.nodes[number] = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: "Ray runtime started" in (folder / "log").read_text(), timeout_s=60)

    def kill_node(self, number):
        """End all processes of a node at once, as when its machine is switched off."""
        name = str(self.folder / f"node-{number}")
        for process in psutil.process_iter():
            try:
                if process.environ().get("RLLTE_TEST_NODE") == name:
                    process.kill()
            except psutil.Error:
                pass
        self.nodes[number].wait()

    def start(self, root):
        command = [sys.executable, "-c", "from rllte.cli import main; main()", "run"]
        return subprocess.Popen(
            [*command, "--address", self.address, "--remote", "writer"],
            cwd=root,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kept(self):
        filesystem = self.s3.filesystem()
        return [path for path in filesystem.find("rllte/hub/resume") if path.endswith((".pt", ".json"))]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    environment = {
        **os.environ,
        "PATH": path_of_python(),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }
    with s3_server(folder / "s3") as server:
        one = Cluster(folder, server, environment, free_ports(1)[0])
        try:
            one.add_node(2, "--head", f"--port={one.port}", "--include-dashboard=false")
            yield one
        finally:
            one.kill_node(2)


def make_hub(root):
    make_repository(root)
    edit_yaml(root / "pipelines/minigrid/params.yaml", lambda p: p["train"].update(checkpoint_steps=1024))
    edit_yaml(
        root / "pipelines/minigrid/ppo/runs.yaml",
        lambda listed: listed["envs"][CELL.env_id].update(num_train_steps=8192),
    )
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    return root


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the hashes that the stages give one by one."""
    root = make_hub(tmp_path_factory.mktemp("expected") / "hub")
    make_runs(root)
    return hashes(root)


@pytest.fixture
def hub(cluster, tmp_path):
    root = make_hub(tmp_path / "hub")
    filesystem = cluster.s3.filesystem()
    if filesystem.exists("rllte/hub"):
        filesystem.rm("rllte/hub", recursive=True)
    cluster.s3.add_remotes(root)
    return root


def test_a_lost_node_and_a_remote_that_is_away_for_a_moment_change_no_byte(cluster, hub, expected, tmp_path):
    cluster.add_node(3, f"--address={cluster.address}")
    process = cluster.start(hub)
    wait_for(lambda: len([path for path in cluster.kept() if path.endswith("resume.pt")]) == 2, process)
    cluster.kill_node(3)
    cluster.s3.stop()
    time.sleep(8)
    cluster.s3.start()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert hashes(hub) == expected
    assert is_clean(hub)
    assert "up to date" in run_program("dvc", "repro", "--dry", cwd=hub).stdout
    assert cluster.kept() == []
    resumed = [json.loads((hub / run.path("train")).read_text())["resumed_at_env_step"] for run in RUNS]
    assert max(resumed) > 0
    git(hub, "add", "-A")
    git(hub, "commit", "-qm", "publish")
    git(tmp_path, "clone", "-q", str(hub), "clone")
    cluster.s3.add_remotes(tmp_path / "clone")
    run_program("dvc", "pull", "-q", "-r", "s3", cwd=tmp_path / "clone")
    assert hashes(tmp_path / "clone") == expected
