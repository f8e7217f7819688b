"""Verifying what is here against the catalogue, and pruning the cache."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rllte.environment import cache_dir
from rllte.errors import HubError
from rllte.hub import git
from rllte.hub.catalogue import FILE, Artifact, Catalogue, read_catalogue
from rllte.hub.source import Source, revisions_dir
from rllte.hub.store import cache_path, find_problem


@dataclass(frozen=True)
class Copy:
    """A copy of an artifact on this machine.

    Attributes:
        path: The file.
        artifact: What it should be.
        problem: How it differs from the catalogue; empty where it does not.
    """

    path: Path
    artifact: Artifact
    problem: str


def check_copies(source: Source, artifacts: Iterable[Artifact]) -> Iterator[Copy]:
    """Hash every copy of these artifacts in the checkout and in the cache."""
    for artifact in artifacts:
        places = [cache_path(artifact)]
        if source.checkout is not None:
            places.insert(0, source.checkout / artifact.path)
        for path in places:
            if path.is_file():
                yield Copy(path, artifact, find_problem(artifact, path.read_bytes()))


def pinned_revisions() -> dict[str, list[str]]:
    """Return the commits in use, each with the names by which it was asked for."""
    pinned: dict[str, list[str]] = {}
    for file in sorted((cache_dir() / "refs").glob("*.json")):
        repo, refs = git.read_refs_file(file)
        for rev, row in refs.items():
            pinned.setdefault(row["commit"], []).append(f"{rev} of {repo}")
    return pinned


def unused_files(source: Source) -> list[Path]:
    """Return what pruning would delete: all that neither a pinned revision nor ``source`` needs.

    Raises:
        HubError: The catalogue of a pinned revision cannot be read.
    """
    pinned = pinned_revisions()
    catalogues: list[Catalogue] = []
    unused = []
    for folder in sorted(revisions_dir().glob("*")):
        if folder.name in pinned and (folder / FILE).exists():
            catalogues.append(read_catalogue(folder))
        else:
            unused.append(folder)
    with suppress(HubError):  # there need not be a checkout
        catalogues.append(source.catalogue)
    needed = {row["md5"] for catalogue in catalogues for row in catalogue.artifacts.values()}
    objects = sorted((cache_dir() / "md5").glob("*/*"))
    unused += [path for path in objects if path.parent.name + path.name not in needed]
    return unused + sorted((cache_dir() / "parts").glob("*"))


def prune(paths: Iterable[Path]) -> None:
    """Delete files and folders of the cache."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def forget(rev: str) -> int:
    """Take a revision back from those that pruning keeps; return how many repositories had it."""
    return sum(git.forget(file, rev) for file in (cache_dir() / "refs").glob("*.json"))


def folder_size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
