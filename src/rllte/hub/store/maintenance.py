"""Verify the local copies of artifacts against the catalogue, and prune the cache."""

import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rllte.config import cache_dir
from rllte.errors import HubError
from rllte.files import unlink_unless_locked
from rllte.hub.store import git
from rllte.hub.store.cache import cache_path, find_problem
from rllte.hub.store.catalogue import FILE, Artifact, Catalogue, read_catalogue
from rllte.hub.store.source import Source, own_checkout, revisions_dir

_BEING_WRITTEN_S = 3600.0  # another process may still be writing a younger hidden file or folder


@dataclass(frozen=True)
class Copy:
    """A copy of an artifact on this machine.

    Attributes:
        path: The file.
        artifact: The artifact that the file should hold.
        problem: How the file differs from the catalogue; empty if it does not differ.
    """

    path: Path
    artifact: Artifact
    problem: str


def check_copies(source: Source, artifacts: Iterable[Artifact]) -> Iterator[Copy]:
    """Hash and yield every copy of these artifacts in the cache and in the checkout.

    Copies in the checkout are skipped if the source names a revision.
    """
    for artifact in artifacts:
        places = [cache_path(artifact)]
        if source.checkout is not None and source.commit is None:  # files of another commit may differ
            places.insert(0, source.checkout / artifact.path)
        for path in places:
            if path.is_file():
                yield Copy(path, artifact, find_problem(artifact, path.read_bytes()))


def pinned_revisions(forgotten: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the pinned commits, each with the revision names that it was requested by.

    Args:
        forgotten: Revision names to ignore, as if they were not pinned.
    """
    pinned: dict[str, list[str]] = {}
    for file in _refs_files():
        repo, refs = git.read_refs_file(file)
        for rev, row in refs.items():
            if rev not in forgotten:
                pinned.setdefault(row["commit"], []).append(f"{rev} of {repo}")
    return pinned


def unused_files(source: Source, forgotten: Collection[str] = ()) -> list[Path]:
    """Return the paths that pruning would delete: those that no pinned revision and not ``source`` needs.

    Args:
        source: The source in use now; its files are kept.
        forgotten: Names of pinned revisions whose files need not be kept.

    Raises:
        HubError: The catalogue of ``source`` cannot be read.
    """
    # what is there is listed first: a load pins a revision before it writes its files
    folders, objects = sorted(revisions_dir().glob("*")), sorted((cache_dir() / "md5").glob("*/*"))
    pinned = pinned_revisions(forgotten)
    catalogues: list[Catalogue] = []
    unused = []
    for folder in folders:
        try:
            if folder.name in pinned:
                catalogues.append(read_catalogue(folder))
                continue
        except HubError:  # it has no catalogue that can be read, so nothing can be loaded by it
            pass
        unused.append(folder)
    if source.checkout != own_checkout() or (own_checkout() / FILE).exists():  # an installed package has none
        catalogues.append(source.catalogue)
    needed = {row["md5"] for catalogue in catalogues for row in catalogue.artifacts.values()}
    unused += [path for path in objects if path.parent.name + path.name not in needed]
    unused += sorted((cache_dir() / "parts").glob("*"))
    return [path for path in unused if not _is_being_written(path)]


def _is_being_written(path: Path) -> bool:
    try:
        return path.name.startswith(".") and time.time() - path.lstat().st_mtime < _BEING_WRITTEN_S
    except FileNotFoundError:
        return True


def prune(paths: Iterable[Path]) -> None:
    """Delete files and folders of the cache, except for downloads in progress."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            unlink_unless_locked(path)


def check_pinned(revs: Iterable[str]) -> None:
    """Check that all of these revisions are pinned.

    Raises:
        HubError: One of them is not pinned.
    """
    known = {rev for file in _refs_files() for rev in git.read_refs_file(file)[1]}
    for rev in revs:
        if rev not in known:
            raise HubError(f"No revision {rev!r} is pinned. See: rllte-hub cache ls")


def forget(revs: Collection[str]) -> None:
    """Unpin revisions, so that pruning no longer keeps their files."""
    for file in _refs_files():
        git.forget(file, revs)


def _refs_files() -> list[Path]:
    return sorted((cache_dir() / "refs").glob("*.json"))


def folder_size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
