"""Loading from revisions, of a checkout and of a git URL."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rllte.config import cache_dir
from rllte.errors import HubError, MissingArtifactError, UnknownNameError
from rllte.hub import MiniGrid, available, diff
from rllte.hub.store import git
from rllte.hub.store.cache import fetch, fetch_all
from rllte.hub.store.maintenance import pinned_revisions
from rllte.hub.store.source import make_source
from tests.conftest import CELL, RUNS, edit_yaml, record, run_program
from tests.conftest import git as run_git

pytestmark = pytest.mark.slow

NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}
SCORES = CELL.path("scores")


@pytest.fixture(scope="module")
def template(published_hub, tmp_path_factory):
    """A repository whose ``v1`` has two seeds, and whose branch has one seed and other settings."""
    from rllte.stages.collect import collect

    root = tmp_path_factory.mktemp("origin") / "hub"
    run_git(root.parent, "clone", "-q", str(published_hub), str(root))
    run_git(root, "checkout", "-q", "-b", "main")
    run_git(root, "tag", "-am", "first", "v1")
    run_program("dvc", "pull", "-q", cwd=root)

    def drop(listed):
        del listed["runs"][f"{CELL.env_id}/seed-1"]

    edit_yaml(root / "pipelines/minigrid/ppo/runs.yaml", drop)
    shutil.rmtree(root / f"data/runs/{RUNS[1]}")
    collect(root, CELL)
    record(root)
    edit_yaml(
        root / "pipelines/minigrid/ppo/params.yaml",
        lambda params: params["hyperparameters"].update(gamma=0.5),
    )
    run_git(root, "add", "-A")
    run_git(root, "commit", "-qm", "one seed")
    return root


@pytest.fixture
def two_revisions(template, tmp_path):
    return Path(shutil.copytree(template, tmp_path / "origin", symlinks=True))


@pytest.fixture
def partial_server(two_revisions, tmp_path):
    """The URL of a server that sends single files of a commit, as those of GitHub and GitLab do."""
    root = tmp_path / "partial.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(two_revisions), str(root))
    for setting in ("allowFilter", "allowAnySHA1InWant"):
        run_git(root, "config", f"uploadpack.{setting}", "true")
    return root.as_uri()


@pytest.fixture(params=["folder", "url", "partial"])
def repo(request, two_revisions):
    if request.param == "partial":
        return str(request.getfixturevalue("partial_server"))
    return str(two_revisions) if request.param == "folder" else two_revisions.as_uri()


def test_a_revision_gives_exactly_what_it_lists(repo, two_revisions):
    old, new = MiniGrid(repo, rev="v1"), MiniGrid(repo, rev="main")
    assert (old.load_scores(**NAMES).shape, new.load_scores(**NAMES).shape) == ((2, 4), (1, 4))
    assert (old.load_curves(**NAMES)["eval"].shape, new.load_curves(**NAMES)["eval"].shape) == (
        (2, 2),
        (1, 2),
    )
    assert old.load_models(**NAMES, seed=1).training is False
    with pytest.raises(UnknownNameError, match="Unknown seed '1'"):
        new.load_models(**NAMES, seed=1)
    assert (old.load_apis(**NAMES).config.gamma, new.load_apis(**NAMES).config.gamma) == (0.99, 0.5)
    (row,) = available(repo=repo, rev="v1")
    assert row["seeds"] == [0, 1]


def test_a_server_is_asked_for_no_file_that_is_not_needed(partial_server):
    MiniGrid(partial_server, rev="v1").load_scores(**NAMES)
    (mirror,) = (cache_dir() / "git").glob("*.git")
    missing = run_git(mirror, "rev-list", "--objects", "--all", "--missing=print").stdout.count("?")
    assert missing > 10


def test_a_folder_that_is_a_partial_clone_gets_what_it_lacks(partial_server, tmp_path):
    run_git(tmp_path, "clone", "-q", "--filter=blob:none", partial_server, "clone")
    assert MiniGrid(tmp_path / "clone", rev="v1").load_scores(**NAMES).shape == (2, 4)


def test_every_artifact_has_the_bytes_that_dvc_gives(two_revisions, published_hub):
    source = make_source(two_revisions.as_uri(), "v1")
    artifacts = source.catalogue.all_artifacts()
    fetch_all(source, artifacts)
    run_program("dvc", "pull", "-q", cwd=published_hub)
    for artifact in artifacts:
        assert fetch(source, artifact) == (published_hub / artifact.path).read_bytes()


@pytest.mark.parametrize("place", ["checkout", "tag", "url"])
def test_the_bytes_are_those_of_dvcs_own_interface(two_revisions, place, tmp_path, monkeypatch):
    import dvc.api

    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    repo = two_revisions.as_uri() if place == "url" else str(two_revisions)
    rev = None if place == "checkout" else "v1"
    # of a URL, DVC itself cannot read a remote that is a folder of the repository
    where = {"remote_config": {"url": str(two_revisions / "remote")}} if place == "url" else {}
    source = make_source(repo, rev)
    owners = [(CELL, "curves"), (CELL, "scores"), (RUNS[0], "policy"), (RUNS[0], "model")]
    for owner, kind in owners:
        artifact = source.catalogue.artifact(owner, kind)
        assert fetch(source, artifact) == dvc.api.read(artifact.path, repo=repo, rev=rev, mode="rb", **where)


def test_a_tag_a_branch_and_a_short_hash_name_the_same_commit(two_revisions):
    commit = run_git(two_revisions, "rev-parse", "v1^{commit}").stdout.strip()
    for repo in (str(two_revisions), two_revisions.as_uri()):
        assert {git.resolve(repo, name) for name in ("v1", commit, commit[:10])} == {commit}


@pytest.mark.parametrize("gives_commits", [True, False])
def test_an_older_commit_is_found_after_a_newer_one(two_revisions, monkeypatch, gives_commits):
    """The newer one comes without history; git's first protocol gives tips of branches alone."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.version")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "2" if gives_commits else "0")
    commit = run_git(two_revisions, "rev-parse", "v1^{commit}").stdout.strip()
    run_git(two_revisions, "tag", "-d", "v1")
    run_git(two_revisions, "branch", "-D", "master")
    url = two_revisions.as_uri()
    assert MiniGrid(url, rev="main").load_scores(**NAMES).shape == (1, 4)
    assert MiniGrid(url, rev=commit[:10]).load_scores(**NAMES).shape == (2, 4)
    shutil.rmtree(cache_dir())
    assert MiniGrid(url, rev="main").load_scores(**NAMES).shape == (1, 4)
    assert MiniGrid(url, rev=commit).load_scores(**NAMES).shape == (2, 4)


def test_a_url_that_is_asked_first_by_many_at_once_is_read_by_all(two_revisions):
    url, commit = two_revisions.as_uri(), git.resolve(str(two_revisions), "v1")
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: git.read_files(url, commit, ["catalogue.json"]), range(16)))
    assert [list(files) for files in found] == [["catalogue.json"]] * 16


def test_an_unknown_revision_is_an_error_with_those_that_exist(repo):
    with pytest.raises(UnknownNameError, match=r"Unknown revision 'v2' .*(Did you mean 'v1'|Known: .*v1)"):
        MiniGrid(repo, rev="v2").load_scores(**NAMES)


def test_a_commit_that_does_not_exist_is_an_error_and_is_not_pinned(repo):
    with pytest.raises(UnknownNameError, match="Unknown revision '0000"):
        MiniGrid(repo, rev="0" * 39 + "1").load_scores(**NAMES)
    assert pinned_revisions() == {}


def test_revisions_that_are_asked_for_at_once_are_all_kept(tmp_path):
    names = [f"v{i}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: git.remember(str(tmp_path), name, "0" * 40, "tag"), names))
    assert sorted(git.read_refs(str(tmp_path))) == sorted(names)


@pytest.mark.parametrize("rev", ["--upload-pack=touch /tmp/x", "-n", "v1; true"])
def test_a_revision_is_never_an_option_of_git(repo, rev):
    with pytest.raises(UnknownNameError):
        MiniGrid(repo, rev=rev).load_scores(**NAMES)


def test_a_repository_that_is_not_there_is_an_error_without_its_password(tmp_path):
    with pytest.raises(HubError, match="git says") as caught:
        MiniGrid(f"file://user:secret@{tmp_path}/nowhere").load_scores(**NAMES)
    assert "secret" not in str(caught.value)


def test_what_was_loaded_once_is_loaded_again_when_the_repository_is_away(
    two_revisions, tmp_path, monkeypatch
):
    url = two_revisions.as_uri()
    expected = MiniGrid(url, rev="v1").load_scores(**NAMES)
    branch = MiniGrid(url, rev="main").load_scores(**NAMES)
    two_revisions.rename(tmp_path / "away")
    git.resolve.cache_clear()
    assert np.array_equal(MiniGrid(url, rev="v1").load_scores(**NAMES), expected)
    with pytest.warns(UserWarning, match="'main' stays at"):
        assert np.array_equal(MiniGrid(url, rev="main").load_scores(**NAMES), branch)
    git.resolve.cache_clear()
    monkeypatch.setenv("RLLTE_HUB_OFFLINE", "1")
    assert np.array_equal(MiniGrid(url, rev="main").load_scores(**NAMES), branch)
    with pytest.raises(HubError, match="RLLTE_HUB_OFFLINE"):
        MiniGrid(url, rev="v0").load_scores(**NAMES)
    with pytest.raises(MissingArtifactError, match=f"rllte-hub pull {CELL}"):
        MiniGrid(url, rev="v1").load_curves(**NAMES)


def test_a_read_only_cache_loads_the_revisions_that_it_has(two_revisions, small_disk, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(small_disk))
    repo, url = str(two_revisions), two_revisions.as_uri()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    expected = MiniGrid(repo, rev="v1").load_scores(**NAMES)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    commit = run_git(two_revisions, "rev-parse", "v1^{commit}").stdout.strip()
    assert (MiniGrid(repo, rev=commit[:8]).load_scores(**NAMES) == expected).all()
    for elsewhere in (repo, url):
        with pytest.raises(HubError, match=r"cannot be written \(Read-only file system\)"):
            MiniGrid(elsewhere, rev="main").load_scores(**NAMES)


def test_a_pinned_load_asks_git_for_nothing(repo, monkeypatch):
    commit = MiniGrid(repo, rev="v1").source.commit
    expected = MiniGrid(repo, rev=commit).load_scores(**NAMES)
    git.resolve.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert np.array_equal(MiniGrid(repo, rev=commit).load_scores(**NAMES), expected)


def test_the_environment_names_repository_and_revision(two_revisions, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_REPO", two_revisions.as_uri())
    monkeypatch.setenv("RLLTE_HUB_REV", "v1")
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)
    assert MiniGrid(rev="main").load_scores(**NAMES).shape == (1, 4)


def test_a_difference_names_what_came_went_and_moved(repo, two_revisions, monkeypatch):
    (row,) = diff("v1", "main", repo=repo)
    means = [available(repo=repo, rev=rev)[0]["mean"] for rev in ("v1", "main")]
    assert (row["change"], row["mean_a"], row["mean_b"]) == ("changed", *means)
    assert row["moved"] == ["seeds", "curves", "scores"]
    assert row["difference"] == pytest.approx(means[1] - means[0], abs=1e-3)
    assert diff("v1", "v1", repo=repo) == []
    content = json.loads((two_revisions / "catalogue.json").read_text())
    cell = next(row for row in content["cells"] if row["status"] == "available")
    cell["status"] = "planned"
    (two_revisions / "catalogue.json").write_text(json.dumps(content))
    monkeypatch.setenv("RLLTE_HUB_REV", "v1")  # is not the checkout as it stands
    assert [row["change"] for row in diff("v1", repo=str(two_revisions))] == ["removed"]


def test_a_revision_keeps_no_files_but_catalogue_and_settings(two_revisions):
    MiniGrid(two_revisions.as_uri(), rev="v1").load_scores(**NAMES)
    (folder,) = (cache_dir() / "revisions").iterdir()
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"catalogue.json", "config", "params.yaml", "runs.yaml"}
