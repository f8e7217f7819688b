"""Read objects of DVC remotes by their content hash, with DVC's settings and file systems.

The catalogue lists the hash of every artifact. Therefore DVC's index of the repository is not needed, and one
request reads one object.
"""

import functools
import os
import posixpath
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllte.errors import HubError, UnknownNameError
from rllte.extras import process_unchanged, requires_extra
from rllte.hub.store import git
from rllte.hub.store.dvc_config import read_config, read_url_config
from rllte.hub.store.http import PublicObjects, public_url
from rllte.hub.store.source import Source

CONNECTIONS = 16


@dataclass(frozen=True)
class Remote(ABC):
    """A store of objects that are named by their md5.

    Attributes:
        name: The name that ``dvc remote list`` prints.
        url: The URL of the remote, without passwords.
        caches: Local folders of objects that are searched before the remote: DVC's own cache.
    """

    name: str
    url: str
    caches: tuple[Path, ...]

    def __str__(self) -> str:
        return f"remote {self.name!r} ({self.url})"

    @property
    @abstractmethod
    def needs_network(self) -> bool:
        """Whether objects are read from another machine."""

    @property
    @abstractmethod
    def gives_ranges(self) -> bool:
        """Whether a part of an object can be read without reading the rest."""

    @abstractmethod
    def read(self, md5: str, start: int, end: int) -> bytes:
        """Return a range of an object's bytes with one request, without verifying them.

        Raises:
            FileNotFoundError: There is no such object.
            OSError: The object cannot be read. File systems may also raise errors of their own.
        """

    def repair(self, md5: str) -> str:
        """Return a text that says how to replace a damaged object."""
        return (
            f"To repair it from a good copy, delete files/md5/{_place(md5)} in the remote, then run dvc push."
        )

    def prepare(self, sizes: dict[str, int]) -> dict[str, bytes]:
        """Return the bytes of objects, by md5, if the remote can read many with one request.

        Most remotes cannot, and return an empty dict.

        Args:
            sizes: The size in bytes of each object, by md5.
        """
        return {}


@dataclass(frozen=True)
class ObjectRemote(Remote):
    """A remote that is read through a file system: a folder or an object store.

    Attributes:
        prefix: The path of the folder of objects in ``filesystem``.
        filesystem: A file system of fsspec, or ``PublicObjects``.
        is_local: Whether the file system is on this machine.
    """

    prefix: str
    filesystem: Any = field(repr=False)
    is_local: bool

    gives_ranges = True

    @property
    def needs_network(self) -> bool:
        """Whether objects come from another machine."""
        return not self.is_local

    def read(self, md5: str, start: int, end: int) -> bytes:
        """Return a range of an object's bytes."""
        data = bytes(self.filesystem.cat_file(f"{self.prefix}/{_place(md5)}", start=start, end=end))
        return data if len(data) <= end - start else data[start:end]  # some servers ignore ranges


@dataclass(frozen=True)
class EmbeddedRemote(Remote):
    """A remote that is a folder of the repository, whose objects are files of a commit.

    Attributes:
        repo: The folder or the URL of the repository.
        commit: The full hash of the commit.
        folder: The path of the folder of objects in the repository.
    """

    repo: str = field(repr=False)
    commit: str
    folder: str

    gives_ranges = False

    @property
    def needs_network(self) -> bool:
        """Whether objects come from another machine."""
        return git.is_url(self.repo)

    def read(self, md5: str, start: int, end: int) -> bytes:
        """Return a range of an object's bytes.

        In a checkout the file in the folder is read first. If it is missing, or the repository is at a URL,
        git reads the file of the commit.
        """
        if not self.needs_network:
            with suppress(FileNotFoundError):
                return (Path(self.repo) / self.folder / _place(md5)).read_bytes()[start:end]
        path = f"{self.folder}/{_place(md5)}"
        found = git.read_files(self.repo, self.commit, [path], num_bytes=end)
        if path not in found:
            raise FileNotFoundError(f"{path} of {self.commit[:12]}")
        return found[path][start:end]

    def repair(self, md5: str) -> str:
        """Return a text that says how to replace a damaged object."""
        path = f"{self.folder}/{_place(md5)}"
        if self.needs_network:
            return f"Tell the repository's owner that {path} is damaged, or load another revision."
        return f"To repair it from the commit, run: git restore --source {self.commit[:12] or 'HEAD'} {path}"

    def prepare(self, sizes: dict[str, int]) -> dict[str, bytes]:
        """Return many objects with one request; empty if the repository is not at a URL."""
        if not self.needs_network:
            return {}
        paths = {f"{self.folder}/{_place(md5)}": md5 for md5 in sizes}
        found = git.read_files(self.repo, self.commit, paths, num_bytes=sum(sizes.values()))
        return {paths[path]: data for path, data in found.items() if path in paths}


def _place(md5: str) -> str:
    return f"{md5[:2]}/{md5[2:]}"


@functools.lru_cache(maxsize=16)
def open_remote(source: Source) -> Remote:
    """Return the remote of a source.

    Raises:
        UnknownNameError: The repository's DVC settings have no such remote.
        MissingExtraError: This type of remote needs a package that is not installed.
        HubError: There is no default remote, or its settings are not valid or not allowed.
    """
    if source.checkout is None:
        config, name, folder = read_url_config(source.root, source.remote, str(source))
    else:
        config, folder = read_config(source.checkout), None
        name = _default_name(source, config)
    cache = config["cache"].get("dir") or (source.checkout and str(source.checkout / ".dvc/cache"))
    caches = (Path(cache) / "files/md5",) if cache else ()
    if folder is None:
        found = _object_remote(config, name, caches)
        folder = _folder_of_checkout(source, found)
        if folder is None:
            return found
    objects = posixpath.normpath(f"{folder}/files/md5")
    return EmbeddedRemote(name, f"{objects} of {source}", caches, source.repo, source.commit or "", objects)


if hasattr(os, "register_at_fork"):  # a child must not use its parent's connections and threads
    os.register_at_fork(after_in_child=open_remote.cache_clear)


def _default_name(source: Source, config: Any) -> str:
    """Return the name of the remote that the user chose, or of the checkout's default remote."""
    name = source.remote or config["core"].get("remote")
    if name is None:
        raise HubError(f"{source} has no default DVC remote. Name one of: {', '.join(config['remote'])}")
    if name.lower() not in config["remote"]:
        raise UnknownNameError("remote", name, config["remote"], where=str(source))
    return str(name)


@process_unchanged()  # DVC wraps sys.stdout when it is imported
def _object_remote(config: Any, name: str, caches: tuple[Path, ...]) -> ObjectRemote:
    from dvc.fs import get_fs_config

    settings = get_fs_config(config, name=name)
    if path := public_url(settings):
        filesystem, is_local = PublicObjects(CONNECTIONS), False
    else:
        filesystem, path, is_local = _filesystem(config, name)
    url = git.without_password(str(settings["url"]))
    return ObjectRemote(name, url, caches, f"{path.rstrip('/')}/files/md5", filesystem, is_local)


@process_unchanged()
def _filesystem(config: Any, name: str) -> tuple[Any, str, bool]:
    """Return DVC's file system for a remote, the path of the remote in it, and whether it is local."""
    from dvc.fs import RemoteMissingDepsError, get_cloud_fs

    try:
        kind, options, path = get_cloud_fs(config, name=name)
        return kind(**options).fs, path, kind.protocol == "local"
    except (RemoteMissingDepsError, ImportError) as error:
        if "s3" in str(error):
            with requires_extra(f"The DVC remote {name!r} needs"):
                import dvc_s3  # noqa: F401
        text = " ".join(str(error).split())
        raise HubError(f"The DVC remote {name!r} needs a package that is not installed: {text}.") from None


def _folder_of_checkout(source: Source, remote: ObjectRemote) -> str | None:
    """Return the path of a remote inside the repository; None if it is elsewhere or no revision is named."""
    path = Path(remote.prefix).parents[1]
    if source.commit is None or not remote.is_local or not path.is_relative_to(source.repo):
        return None
    return path.relative_to(source.repo).as_posix()


def is_permanent(error: BaseException) -> bool:
    """Return whether a read that failed with this error would fail again."""
    return isinstance(error, FileNotFoundError | PermissionError | HubError) or _lacks_credentials(error)


def _lacks_credentials(error: BaseException) -> bool:
    return "Credentials" in type(error).__name__  # such as botocore's NoCredentialsError


def explain(error: BaseException, remote: Remote) -> str:
    """Return a text that says why a remote could not be read, and which of its settings to check."""
    text = " ".join(git.without_password(str(error)).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"{remote} does not have it"
    if _lacks_credentials(error):
        return (
            f"{remote} needs credentials, but none are set: set access_key_id and secret_access_key with "
            f"`dvc remote modify --local {remote.name} …`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
            f"for a public bucket, set allow_anonymous_login = true"
        )
    if isinstance(error, PermissionError):
        words = {
            "signature": "secret_access_key of this remote or AWS_SECRET_ACCESS_KEY",
            "request time": "the clock of this machine",
            "key": "access_key_id of this remote or AWS_ACCESS_KEY_ID",
            "": "the credentials of this remote or the AWS_… variables",
        }
        place = next(place for word, place in words.items() if word in text.lower())
        return f"{remote} refused access ({text}): check {place}"
    return f"{remote} cannot be read ({text})"
