"""The cache: what pull, verify and prune do with it, and what nothing does to what is outside."""

import dataclasses
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rllte.config import cache_dir
from rllte.errors import HubError
from rllte.files import locked, md5, sha256
from rllte.hub import MiniGrid
from rllte.hub.store import cache, maintenance, source, table_archive
from rllte.hub.store.cache import cache_path
from rllte.hub.store.remote import ObjectRemote
from rllte.hub.store.source import make_source
from tests.conftest import CELL, RUNS, git, run_program
from tests.test_cli import run

pytestmark = pytest.mark.slow

NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}


def artifact_of(path):
    return next(row for row in make_source().catalogue.all_artifacts() if row.path == path)


def commit_a_change(root):
    """Pull into the checkout, change a file there and in the catalogue, and commit."""
    run_program("dvc", "pull", "-q", cwd=root)
    path = root / CELL.path("curves")
    path.unlink()  # a link into DVC's cache, maybe
    path.write_bytes(b"other")
    old, new = artifact_of(CELL.path("curves")), b"other"
    text = (root / "catalogue.json").read_text()
    for before, after in ((old.md5, md5(new)), (old.sha256, sha256(new))):
        text = text.replace(before, after)
    (root / "catalogue.json").write_text(text)
    git(root, "commit", "-qam", "change")


def pull_all():
    run("pull", "--all")
    return sorted(path for path in (cache_dir() / "md5").rglob("*") if path.is_file())


def test_kinds_and_cells_choose_what_is_pulled(hub):
    run("pull", str(CELL), "--kind", "models")
    assert cache_path(artifact_of(RUNS[0].path("model"))).exists()
    assert not cache_path(artifact_of(CELL.path("scores"))).exists()
    assert "No cell of dmc is available" in run("pull", "--benchmark", "dmc", code=1).stderr
    assert run("pull", str(CELL), "--kind", "models,models").stderr.startswith("2 files")
    result = run("pull", "--benchmark", "minigrid")
    assert result.stderr.splitlines()[-1].startswith("4 files")
    assert cache_path(artifact_of(CELL.path("scores"))).exists()


def test_a_pull_into_a_folder_writes_files_by_their_names(hub, tmp_path):
    lines = run("pull", str(CELL), "--kind", "models", "--local-dir", tmp_path / "here").stdout.splitlines()
    assert lines == [str(tmp_path / "here" / one.path("model")) for one in RUNS]
    model = (tmp_path / "here" / RUNS[0].path("model")).read_bytes()
    assert model == cache_path(artifact_of(RUNS[0].path("model"))).read_bytes()


def test_a_pull_that_names_nothing_is_wrong_usage(hub):
    assert "name a CELL, or --benchmark, or --all" in run("pull", code=2).stderr


def test_verify_says_which_copy_differs_and_how(hub):
    assert pull_all()
    assert run("verify").output.endswith("0 differ from the catalogue\n")
    path = cache_path(artifact_of(CELL.path("curves")))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    found = json.loads(run("verify", "--json", code=1).stdout)
    (problem,) = found["problems"]
    assert (problem["path"], problem["artifact"]) == (str(path), CELL.path("curves"))
    assert problem["problem"].startswith("has md5")
    run("verify", str(CELL), code=1)
    path.unlink()
    commit_a_change(hub)
    assert "0 differ from the catalogue" in run("--rev", "HEAD~1", "verify").output
    assert "one RUN and no CELL" in run("verify", str(CELL), "--replay", str(RUNS[0]), code=2).stderr


def test_a_replay_gives_the_stored_returns(hub):
    rows = json.loads(run("verify", "--replay", str(RUNS[1]), "--json").stdout)
    assert [row["replayed"] for row in rows] == MiniGrid().load_scores(**NAMES)[1].tolist()


def test_a_replay_by_another_model_has_other_returns_whose_means_are_compared(hub):
    scores = hub / CELL.path("scores")
    other = artifact_of(RUNS[0].path("model"))
    content = json.loads((hub / "catalogue.json").read_text())
    for row in content["artifacts"]:  # the model of seed 0 in the place of that of seed 1
        if row["path"] == RUNS[1].path("model"):
            row.update(md5=other.md5, sha256=other.sha256, size=other.size)
    (hub / "catalogue.json").write_text(json.dumps(content))
    assert not scores.exists()
    result = run("verify", "--replay", str(RUNS[1]), "--json")
    assert any(row["replayed"] != row["published"] for row in json.loads(result.stdout))
    assert "compatible (Welch's test, p = " in result.stderr, "four episodes tell no difference"


def test_pruning_keeps_what_the_catalogue_and_pinned_revisions_use(hub, tmp_path):
    files = pull_all()
    stray = cache_dir() / "md5/00/0123456789abcdef0123456789abcd"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"of no catalogue")
    (cache_dir() / "parts").mkdir(exist_ok=True)
    (cache_dir() / "parts/begun").write_bytes(b"half")
    assert str(stray) in run("cache", "prune", "--dry-run").stdout
    assert stray.exists()
    run("cache", "prune")
    assert not stray.exists()
    assert not (cache_dir() / "parts/begun").exists()
    assert all(path.exists() for path in files)


def test_a_pinned_revision_is_kept_until_it_is_forgotten(hub):
    pull_all()
    commit = MiniGrid(rev="HEAD").source.commit
    MiniGrid(rev="HEAD").load_scores(**NAMES)
    content = json.loads((hub / "catalogue.json").read_text())
    content["artifacts"] = []
    (hub / "catalogue.json").write_text(json.dumps(content))
    kept = cache_path(next(iter(make_source(hub, "HEAD").catalogue.all_artifacts())))
    assert kept.exists()
    assert commit in run("cache", "ls").stdout
    run("cache", "prune")
    assert kept.exists()
    run("cache", "prune", "--forget", "HEAD")
    assert not kept.exists()
    assert not (cache_dir() / "revisions" / commit).exists()


def test_a_dry_run_of_forgetting_says_what_would_go_and_forgets_nothing(hub):
    commit = MiniGrid(rev="HEAD").source.commit
    MiniGrid(rev="HEAD").load_scores(**NAMES)
    assert commit in run("cache", "prune", "--forget", "HEAD", "--dry-run").stdout
    assert commit in run("cache", "ls").stdout


def test_forgetting_what_is_not_pinned_is_an_error_and_forgets_nothing(hub):
    MiniGrid(rev="HEAD").load_scores(**NAMES)
    arguments = ["cache", "prune", "--forget", "HEAD", "--forget", "v9"]
    for more in ([], ["--dry-run"]):
        assert "No revision 'v9' is pinned" in run(*arguments, *more, code=1).stderr
    assert "HEAD of" in run("cache", "ls").stdout


def test_pruning_for_a_repository_that_is_not_there_deletes_nothing(hub, tmp_path):
    files = pull_all()
    assert "is not a checkout" in run("--repo", tmp_path / "typo", "cache", "prune", code=1).stderr
    assert "Unknown revision 'v9'" in run("--rev", "v9", "cache", "prune", code=1).stderr
    assert all(path.exists() for path in files)


def test_pruning_leaves_what_is_being_written(hub):
    part, folder = cache_dir() / "parts/begun", cache_dir() / "revisions/.new-abc"
    folder.mkdir(parents=True)
    with locked(part):
        run("cache", "prune")
        assert part.exists()
        assert folder.exists()
    os.utime(folder, (0, 0))
    run("cache", "prune")
    assert not part.exists()
    assert not folder.exists()


def test_a_pinned_revision_whose_catalogue_is_damaged_does_not_stop_pruning(hub):
    commit = MiniGrid(rev="HEAD").source.commit
    MiniGrid(rev="HEAD").load_scores(**NAMES)
    folder = cache_dir() / "revisions" / commit
    (folder / "catalogue.json").write_text("[1]")
    run("cache", "prune")
    assert not folder.exists()
    assert len(MiniGrid(rev="HEAD").load_scores(**NAMES)) == len(RUNS)


def test_pruning_beside_the_first_load_of_a_commit_leaves_it_its_files(hub, monkeypatch):
    commit = git(hub, "rev-parse", "HEAD").stdout.strip()
    write = source._write_folder

    def write_and_prune(folder, files):
        write(folder, files)
        maintenance.prune(maintenance.unused_files(make_source(hub)))

    monkeypatch.setattr(source, "_write_folder", write_and_prune)
    assert len(MiniGrid(rev=commit).load_scores(**NAMES)) == len(RUNS)


def test_a_link_in_the_cache_is_not_followed(hub, tmp_path):
    artifact = artifact_of(CELL.path("scores"))
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path = cache_path(artifact)
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    MiniGrid().load_scores(**NAMES)
    assert outside.read_bytes() == b"mine"
    assert path.is_file()
    assert not path.is_symlink(), "replaced by the artifact"


def test_a_folder_of_the_cache_that_leads_elsewhere_is_refused(hub, tmp_path):
    artifact = artifact_of(CELL.path("scores"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (cache_dir() / "md5").mkdir(parents=True)
    (cache_dir() / "md5" / artifact.md5[:2]).symlink_to(outside)
    with pytest.raises(HubError, match="leads out of the cache"):
        MiniGrid().load_scores(**NAMES)
    assert list(outside.iterdir()) == []


def test_a_cache_that_is_a_link_itself_is_the_users_choice(hub, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(tmp_path / "link"))
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)


def test_a_full_disk_is_a_clear_error_and_what_was_cached_stays(hub, small_disk, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(small_disk))
    expected = MiniGrid().load_scores(**NAMES)
    with pytest.raises(HubError, match=r"cannot be written \(No space left on device\)") as caught:
        MiniGrid().load_models(**NAMES)
    assert "RLLTE_HUB_CACHE" in str(caught.value)
    assert (MiniGrid().load_scores(**NAMES) == expected).all()
    assert not any((small_disk / "parts").iterdir()), "the disk is not left full of a part"


def test_a_disk_that_is_full_while_git_fetches_is_the_same_error(hub, small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(small_disk))
    (tmp_path / "message").write_text(os.urandom(200_000).hex())
    git(hub, "commit", "-q", "--allow-empty", "-F", str(tmp_path / "message"))
    try:
        with pytest.raises(HubError, match=r"git/.* cannot be written \(No space left on device\)"):
            MiniGrid(hub.as_uri()).load_scores(**NAMES)
        assert not list(small_disk.glob("git/*/objects/pack/tmp_*")), "the disk is not left full of a part"
    finally:
        git(hub, "reset", "-q", "--hard", "HEAD~1")


def test_a_read_only_cache_loads_what_it_has(hub, small_disk, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_CACHE", str(small_disk))
    expected = MiniGrid().load_scores(**NAMES)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert (MiniGrid().load_scores(**NAMES) == expected).all()
    with pytest.raises(HubError, match=r"cannot be written \(Read-only file system\)"):
        MiniGrid().load_curves(**NAMES)


def test_many_tables_of_one_agent_come_in_one_file(hub, monkeypatch):
    from rllte.hub.store.remote import ObjectRemote

    asked, read = [], ObjectRemote.read
    monkeypatch.setattr(
        ObjectRemote, "read", lambda self, md5, *rest: asked.append(md5) or read(self, md5, *rest)
    )
    source = make_source()
    zipped = source.catalogue.bundle("minigrid", "ppo")
    tables = source.catalogue.tables("minigrid", "ppo")
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_CELLS", 1)
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_TABLES", 2)
    MiniGrid().load_scores(**NAMES)
    assert asked == [zipped.md5]
    for artifact in tables:
        assert cache_path(artifact).exists()


def test_models_and_videos_do_not_fetch_the_tables_of_their_agent(hub, monkeypatch):
    source = make_source()
    model = artifact_of(RUNS[0].path("model"))
    film = dataclasses.replace(model, kind="video", seed=None, path=CELL.path("video"))
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_CELLS", 1)
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_TABLES", 1)
    for artifact in (model, film):
        assert not table_archive.is_worthwhile(source, artifact)
        assert table_archive.bundles(source, [artifact]) == []


def test_a_damaged_file_of_tables_costs_only_time(hub, monkeypatch):
    source = make_source()
    zipped = source.catalogue.bundle("minigrid", "ppo")
    path = hub / "remote/files/md5" / zipped.md5[:2] / zipped.md5[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_CELLS", 1)
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_TABLES", 2)
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)


def test_dvcs_own_cache_is_read_before_the_remote_and_nothing_is_written(hub, monkeypatch):
    run_program("dvc", "pull", "-q", cwd=hub)
    shutil.rmtree(hub / "data")
    (hub / "remote").rename(hub / "away")
    monkeypatch.setenv("RLLTE_HUB_CACHE", "/proc/nowhere")
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)
    assert "0.00 MB were downloaded" in run("pull", str(CELL)).stderr


def test_a_table_that_nobody_asked_for_may_be_missing(hub, monkeypatch):
    monkeypatch.setattr("rllte.hub.store.table_archive.ENOUGH_CELLS", 1)
    source = make_source()
    for artifact in (source.catalogue.bundle("minigrid", "ppo"), artifact_of(CELL.path("curves"))):
        path = hub / "remote/files/md5" / artifact.md5[:2] / artifact.md5[2:]
        path.unlink()
    assert MiniGrid().load_scores(**NAMES).shape == (2, 4)


def test_bars_are_silent_in_a_pipe_and_by_the_environment(hub):
    program = "from rllte.hub import MiniGrid; MiniGrid().load_models('Empty-5x5-v0', 'ppo')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert run("pull", "--all").stderr.count("\r") == 0


def test_the_git_folder_of_a_hook_does_not_lead_the_loader_astray(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert MiniGrid(rev="HEAD").load_scores(**NAMES).shape == (2, 4)


@pytest.mark.parametrize("kind", ["webdav", "gs", "azure"])
def test_a_kind_of_remote_whose_package_is_not_installed_is_an_error_that_names_it(hub, kind):
    run_program("dvc", "remote", "add", "-q", "other", f"{kind}://host/path", cwd=hub)
    with pytest.raises(
        HubError, match=f"DVC remote 'other' needs a package that is not installed: .*'dvc-{kind}'"
    ):
        MiniGrid(remote="other").load_scores(**NAMES)


def test_where_locks_do_nothing_two_downloads_at_once_leave_the_right_file(hub, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # as on some network file systems
    artifact = artifact_of(RUNS[0].path("model"))
    source, read = make_source(), ObjectRemote.read
    together, calls = threading.Barrier(2, timeout=60), itertools.count()

    def begin_together(self, md5, start, end):
        if next(calls) < 2:
            together.wait()
        return read(self, md5, start, end)

    monkeypatch.setattr(ObjectRemote, "read", begin_together)
    monkeypatch.setattr(cache, "_CHUNK", artifact.size // 5 + 1)
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(cache.fetch, source, artifact) for _ in range(2)]
        assert all(cache.is_intact(artifact, task.result()) for task in tasks)
    assert cache.is_intact(artifact, cache_path(artifact).read_bytes())
    assert not any((cache_dir() / "parts").iterdir())
