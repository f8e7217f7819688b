"""A real S3 server for the tests of the store, with the tiny hub in its bucket; a small disk."""

import json
import subprocess

import numpy as np
import pytest

from benchmarks.s3_server import BUCKET, s3_server
from rllte.files import md5, sha256
from rllte.hub.store.source import make_source
from rllte.names import Run
from tests.conftest import CELL, git, run_program

MODEL = Run(CELL, 0).path("model")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def pushed(server, published_hub, tmp_path_factory):
    """A clone whose artifacts a maintainer has pushed to the bucket; the embedded remote is away."""
    root = tmp_path_factory.mktemp("maintainer") / "hub"
    git(root.parent, "clone", "-q", str(published_hub), str(root))
    server.add_remotes(root)
    run_program("dvc", "pull", "-q", cwd=root)
    run_program("dvc", "push", "-q", "-r", "writer", cwd=root)
    return root


@pytest.fixture
def reader(pushed, server, tmp_path, monkeypatch):
    """A clone of somebody who may only read, without any copy of the artifacts."""
    root = tmp_path / "reader"
    git(tmp_path, "clone", "-q", str(pushed), str(root))
    (root / "remote").rename(root / "away")
    server.add_remotes(root)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("RLLTE_HUB_REPO", str(root))
    monkeypatch.setenv("RLLTE_HUB_REMOTE", "s3")
    return root


def put_large(server, root, size):
    """Make the model of seed 0 a file of ``size`` bytes, in the bucket and in the catalogue of a clone."""
    data = np.random.default_rng(size).bytes(size)
    content = json.loads((root / "catalogue.json").read_text())
    row = next(row for row in content["artifacts"] if row["path"] == MODEL)
    row.update(md5=md5(data), sha256=sha256(data), size=size)
    (root / "catalogue.json").write_text(json.dumps(content))
    server.filesystem().pipe_file(key(row["md5"]), data)
    artifact = next(row for row in make_source(root).catalogue.all_artifacts() if row.path == MODEL)
    return artifact, data


def key(digest):
    return f"{BUCKET}/hub/files/md5/{digest[:2]}/{digest[2:]}"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
