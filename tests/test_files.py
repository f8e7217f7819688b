"""Writing files, and where the cache is."""

import os
import shutil
import stat

import pytest

from rllte.config import cache_dir
from rllte.errors import HubError
from rllte.files import write_bytes
from rllte.hub import MiniGrid
from rllte.hub.store.source import make_source
from tests.conftest import git


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_has_the_permissions_that_the_umask_leaves(umask, tmp_path):
    write_bytes(tmp_path / "folder/file", b"content")
    assert mode(tmp_path / "folder/file") == 0o666 & ~umask


def test_the_cached_revision_has_the_permissions_that_the_umask_leaves(umask, hub):
    commit = git(hub, "rev-parse", "HEAD").stdout.strip()
    folder = make_source(hub, commit).root
    assert mode(folder) & 0o777 == 0o777 & ~umask
    assert mode(folder / "catalogue.json") == 0o666 & ~umask


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    monkeypatch.delenv("RLLTE_HUB_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a uid that nobody knows
    with pytest.raises(HubError, match=r"there is no home folder\. Set RLLTE_HUB_CACHE"):
        cache_dir()


def test_each_user_of_a_shared_cache_has_a_git_repository_of_its_own(hub, monkeypatch):
    assert MiniGrid(repo=hub.as_uri()).load_scores("Empty-5x5-v0", "ppo").shape == (2, 4)
    (first,) = (cache_dir() / "git").glob("*.git")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    shutil.rmtree(cache_dir() / "revisions")
    assert make_source(hub.as_uri()).catalogue.cells
    assert {path.name for path in (cache_dir() / "git").glob("*.git")} == {
        first.name,
        first.name.replace(".git", "-12345.git"),
    }
