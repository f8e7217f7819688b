"""Where artifacts come from: the checkout, the cache by hash, then the DVC remote. All bytes are verified."""

import functools
import os
from pathlib import Path

import rllte
from rllte.errors import HubError, MissingArtifactError
from rllte.files import md5, sha256, write_bytes
from rllte.hub.catalogue import Artifact


def default_repo() -> Path:
    """Return the checkout to read from: ``RLLTE_HUB_REPO``, or the one that this package runs from."""
    repo = Path(os.environ.get("RLLTE_HUB_REPO") or Path(rllte.__path__[0]).parents[1])
    return repo.expanduser().absolute()


def cache_dir() -> Path:
    """Return the cache: ``RLLTE_HUB_CACHE``, or ``rllte-hub`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RLLTE_HUB_CACHE") or Path(base) / "rllte-hub").expanduser().absolute()


def fetch(root: Path, artifact: Artifact) -> bytes:
    """Return the verified bytes of an artifact.

    Raises:
        MissingArtifactError: It is not here and no remote has it.
        HubError: What the remote has is not what the catalogue lists.
    """
    workspace, cached = root / artifact.path, cache_dir() / "md5" / artifact.md5[:2] / artifact.md5[2:]
    for path in (workspace, cached):
        data = _read(path)
        if data is not None and _is(artifact, data):
            return data
    data = _download(root, artifact, modified=workspace.exists())
    if not _is(artifact, data):  # the checkout may have moved on since DVC read its locks
        _filesystem.cache_clear()
        data = _download(root, artifact, modified=workspace.exists())
    if not _is(artifact, data):
        raise HubError(
            f"{artifact.path} has md5 {md5(data)}; the catalogue says {artifact.md5}. It was not used. "
            f"Either catalogue.json and dvc.lock are of different commits (see git status), or the copy in "
            f"DVC's cache or remote is damaged: delete it there and pull again."
        )
    try:
        write_bytes(cached, data)
    except OSError as error:
        raise HubError(
            f"{cached} cannot be written ({error.strerror}). Set RLLTE_HUB_CACHE to a folder that can."
        ) from None
    return data


def _is(artifact: Artifact, data: bytes) -> bool:
    return len(data) == artifact.size and md5(data) == artifact.md5 and sha256(data) == artifact.sha256


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _download(root: Path, artifact: Artifact, *, modified: bool) -> bytes:
    """Read through DVC: its cache, then its remote. A file modified in the checkout is passed over."""
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    try:
        filesystem = _filesystem(str(root), "HEAD" if modified else None)
        return filesystem.cat_file(artifact.path)
    except (DvcException, SCMError, OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MissingArtifactError(
            artifact.path,
            f"{artifact.path} is not in {root}, not in {cache_dir()}, and DVC cannot read it from its "
            f"remote ({reason}). See `dvc remote list`, then: dvc pull {artifact.path}",
        ) from None


@functools.cache
def _filesystem(root: str, rev: str | None) -> "dvc.api.DVCFileSystem":  # type: ignore[name-defined]  # noqa: F821
    from dvc.api import DVCFileSystem

    return DVCFileSystem(root, rev=rev)
