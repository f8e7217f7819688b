"""Sources: a repository at one of its revisions, and the DVC remote to download from."""

import dataclasses
import functools
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rllte
from rllte.config import cache_dir, writing_cache
from rllte.errors import HubError
from rllte.hub.store import git
from rllte.hub.store.catalogue import FILE, Catalogue, read_catalogue

_SMALL_FILES = (FILE, ".dvc/config", "pipelines")
_KEPT = re.compile(rf"{re.escape(FILE)}|\.dvc/config|pipelines/[\w-]+/([\w-]+/)?(params|runs)\.yaml")


@dataclass(frozen=True)
class Source:
    """A repository at one of its revisions, and the remote to download from.

    Attributes:
        repo: The folder of a checkout, or the URL of a git repository.
        rev: A tag, branch or commit. None means a checkout with its uncommitted changes, or the default
            branch of a URL.
        remote: The name of a DVC remote. None means the repository's default remote.
    """

    repo: str
    rev: str | None = None
    remote: str | None = None

    def __repr__(self) -> str:
        return f"Source({git.without_password(self.repo)!r}, rev={self.rev!r}, remote={self.remote!r})"

    def __str__(self) -> str:
        return git.without_password(self.repo) + (f" at {self.rev}" if self.rev else "")

    @functools.cached_property
    def is_url(self) -> bool:
        """Whether the repository is given as a URL rather than as a folder."""
        return git.is_url(self.repo)

    @property
    def checkout(self) -> Path | None:
        """The folder of the repository; None if the repository is at a URL."""
        return None if self.is_url else Path(self.repo)

    @functools.cached_property
    def commit(self) -> str | None:
        """The full hash of the commit; None for a checkout with its uncommitted changes."""
        if self.rev is None and self.checkout is not None:
            return None
        return git.resolve(self.repo, self.rev or "HEAD")

    @functools.cached_property
    def listing_commit(self) -> str | None:
        """The commit that lists the files; None if a checkout's catalogue is not that of its commit."""
        if self.commit is not None:
            return self.commit
        head = dataclasses.replace(self, rev="HEAD")
        try:
            return head.commit if head.read_file(FILE) == self.read_file(FILE) else None
        except HubError:  # the folder is not a git repository
            return None

    @functools.cached_property
    def root(self) -> Path:
        """The folder with the catalogue and the settings: the checkout, or a folder of the cache."""
        if self.commit is None:
            return Path(self.repo)
        return _revision_folder(self.repo, self.commit, pin=self.rev == self.commit)

    def read_file(self, path: str) -> bytes | None:
        """Return a file of the repository at the revision, or None if it has no such file."""
        if self.commit is None:
            file = self.root / path
            return file.read_bytes() if file.is_file() else None
        return _read_file(self.repo, self.commit, path)

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue of the revision."""
        return read_catalogue(self.root)


def make_source(
    repo: str | os.PathLike[str] | None = None, rev: str | None = None, remote: str | None = None
) -> Source:
    """Return a source; ``RLLTE_HUB_REPO``, ``RLLTE_HUB_REV`` and ``RLLTE_HUB_REMOTE`` give the defaults.

    Args:
        repo: A checkout, or any URL that git can fetch. Without it and the variable, the source is the
            checkout that this package runs from.
        rev: A tag, branch or commit.
        remote: The name of a remote in the repository's DVC settings.

    Raises:
        HubError: An argument is neither a string nor a path, or has characters that no name can have.
    """
    rev, remote = rev or os.environ.get("RLLTE_HUB_REV"), remote or os.environ.get("RLLTE_HUB_REMOTE")
    try:
        text: Any = os.fspath(
            os.environ.get("RLLTE_HUB_REPO") or own_checkout() if repo in (None, "") else repo
        )
    except (TypeError, ValueError):
        text = None
    if not isinstance(text, str):
        raise HubError(f"repo is {repo!r}; expected the folder of a checkout or a git URL.")
    for name, value in (("repo", text), ("rev", rev), ("remote", remote)):
        if not isinstance(value, (str, type(None))):
            raise HubError(f"{name} is {value!r}; expected a string.")
        if value and ("\0" in value or value.encode(errors="replace").decode() != value):
            raise HubError(f"{name} is {value!r}; a name cannot have a NUL character or a lone surrogate.")
    if not git.is_url(text):
        text = str(Path(text).expanduser().absolute())
    return Source(text, rev or None, remote or None)


def own_checkout() -> Path:
    """Return the folder of the checkout that this package runs from.

    For a package that is not installed in editable mode, this folder is not a checkout.
    """
    return Path(rllte.__path__[0]).parents[1]


def revisions_dir() -> Path:
    """Return the folder of the cache that holds the catalogue and the settings of each commit in use."""
    return cache_dir() / "revisions"


def _revision_folder(repo: str, commit: str, pin: bool) -> Path:
    """Return the folder with the catalogue and the settings of a commit; create it if needed.

    Args:
        repo: A folder or a URL.
        commit: The full hash of the commit.
        pin: Whether to pin the commit, if it exists, so that pruning keeps its files.
    """
    folder = revisions_dir() / commit
    is_there = (folder / FILE).exists()
    if not is_there:
        files = git.read_files(repo, commit, _SMALL_FILES)
        if FILE not in files:
            raise HubError(f"{git.without_password(repo)} at {commit[:12]} has no {FILE}. It is not a hub.")
    if pin:
        git.remember(repo, commit, commit, "commit")
    if not is_there:  # only after pinning, so that pruning at the same time keeps the folder
        with writing_cache(folder):
            _write_folder(folder, {path: data for path, data in files.items() if _KEPT.fullmatch(path)})
    return folder


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".new-{secrets.token_hex(6)}"
    temporary.mkdir()  # with the permissions that the umask leaves, not mkdtemp's 0700: a group may share it
    try:
        for path, data in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(data)
        if not (folder / FILE).exists():  # another process may have been quicker
            temporary.rename(folder)
    except OSError:
        if not (folder / FILE).exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@functools.lru_cache(maxsize=8)
def _read_file(repo: str, commit: str, path: str) -> bytes | None:
    return git.read_files(repo, commit, (path,)).get(path)
