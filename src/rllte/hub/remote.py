"""DVC remotes, read by content hash: DVC's own settings and file systems, without its index of a repository.

The catalogue says the hash of every artifact, so nothing of a repository has to be parsed, and one request
gives one object.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllte import registry
from rllte.errors import HubError, UnknownNameError
from rllte.hub import git
from rllte.hub.public import PublicObjects, public_url
from rllte.hub.source import Source

CONNECTIONS = 16


@dataclass(frozen=True)
class Remote:
    """A place with objects named by their md5.

    Attributes:
        name: As ``dvc remote list`` prints it.
        url: Where it is, without passwords.
        prefix: What ``filesystem`` calls the folder of objects.
        filesystem: Of fsspec, or ``PublicObjects``.
        is_local: Whether that is this machine's.
        caches: Folders of objects on this machine that are looked at first: DVC's own cache.
        embedded: The repository, commit and path of a remote that is a folder of the repository itself.
    """

    name: str
    url: str
    prefix: str
    filesystem: Any
    is_local: bool
    caches: tuple[Path, ...] = ()
    embedded: tuple[str, str, str] | None = None

    def __str__(self) -> str:
        return f"remote {self.name!r} ({self.url})"

    @property
    def needs_network(self) -> bool:
        """Whether objects come from another machine."""
        if self.embedded is not None:
            return git.is_url(self.embedded[0])
        return not self.is_local

    def read(self, md5: str, start: int, end: int) -> bytes:
        """Return a range of an object's bytes by one request, as they are: nothing is verified here.

        Raises:
            FileNotFoundError: There is no such object.
            OSError: Or any error of the file system's own.
        """
        path = f"{md5[:2]}/{md5[2:]}"
        if self.embedded is not None and not self.filesystem.exists(f"{self.prefix}/{path}"):
            return self._read_embedded(path)[start:end]
        data = bytes(self.filesystem.cat_file(f"{self.prefix}/{path}", start=start, end=end))
        return data if len(data) <= end - start else data[start:end]  # a server may send all of it

    def prepare(self, md5s: list[str]) -> dict[str, bytes]:
        """Return those of many objects that one request brings all together; empty for most remotes."""
        if self.embedded is None or not git.is_url(self.embedded[0]):
            return {}
        repo, commit, folder = self.embedded
        paths = {f"{folder}/{md5[:2]}/{md5[2:]}": md5 for md5 in md5s}
        found = git.read_files(repo, commit, paths)
        return {paths[path]: data for path, data in found.items()}

    def _read_embedded(self, path: str) -> bytes:
        repo, commit, folder = self.embedded or ("", "", "")
        found = git.read_files(repo, commit, [f"{folder}/{path}"])
        if not found:
            raise FileNotFoundError(f"{folder}/{path} of {commit[:12]}")
        return found[f"{folder}/{path}"]


def read_config(root: Path) -> Any:
    """Return DVC's settings for a repository, with those of the user and of the machine.

    Raises:
        HubError: They are wrong.
    """
    config_module = registry.load("dvc.config")
    try:
        return config_module.Config(str(root / ".dvc"), validate=True)
    except config_module.ConfigError as error:
        raise HubError(f"{root / '.dvc/config'}: {error}") from None


@functools.lru_cache(maxsize=16)
def open_remote(source: Source) -> Remote:
    """Return the remote of a source.

    Raises:
        UnknownNameError: The repository's DVC settings have no such remote.
        MissingExtraError: Its kind needs a package that is not installed.
        HubError: There is no default remote, or the settings are wrong.
    """
    filesystems = registry.load("dvc.fs")
    root = source.checkout or source.root
    config = read_config(root)
    name = source.remote or config["core"].get("remote")
    if name is None:
        raise HubError(f"{source} has no default DVC remote. Name one of: {', '.join(config['remote'])}")
    if name.lower() not in config["remote"]:
        raise UnknownNameError("remote", name, config["remote"], where=str(source))
    settings = filesystems.get_fs_config(config, name=name)
    if path := public_url(settings):
        filesystem, is_local = PublicObjects(CONNECTIONS), False
    else:
        filesystem, path, is_local = _filesystem(filesystems, config, name)
    embedded = _embedded(source, root, Path(path)) if is_local else None
    url = str(settings["url"])
    cache = config["cache"].get("dir") or (source.checkout and str(source.checkout / ".dvc/cache"))
    return Remote(
        name=name,
        url=f"{embedded[2]} of {source}" if embedded else git.without_password(url),
        prefix=f"{path.rstrip('/')}/files/md5",
        filesystem=filesystem,
        is_local=is_local,
        caches=(Path(cache) / "files/md5",) if cache else (),
        embedded=embedded,
    )


if hasattr(os, "register_at_fork"):  # connections, and the threads that serve them, are the parent's
    os.register_at_fork(after_in_child=open_remote.cache_clear)


def _filesystem(filesystems: Any, config: Any, name: str) -> tuple[Any, str, bool]:
    """Return DVC's file system of a remote, the remote's path in it, and whether it is this machine's."""
    try:
        kind, options, path = filesystems.get_cloud_fs(config, name=name)
        return kind(**options).fs, path, kind.protocol == "local"
    except filesystems.RemoteMissingDepsError as error:
        if "s3" in str(error):
            registry.load("dvc_s3", f"The DVC remote {name!r} needs")
        raise HubError(f"The DVC remote {name!r}: {error}") from None


def _embedded(source: Source, root: Path, path: Path) -> tuple[str, str, str] | None:
    if source.commit is None or not path.is_relative_to(root):
        return None
    return source.repo, source.commit, f"{path.relative_to(root).as_posix()}/files/md5"


def is_permanent(error: BaseException) -> bool:
    """Return whether a read that failed so would fail again."""
    return isinstance(error, FileNotFoundError | PermissionError | HubError) or _lacks_credentials(error)


def _lacks_credentials(error: BaseException) -> bool:
    return "Credentials" in type(error).__name__  # botocore's NoCredentialsError and its kin


def explain(error: BaseException, remote: Remote) -> str:
    """Return what went wrong with a remote, and which of its settings to look at."""
    text = " ".join(git.without_password(str(error)).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"{remote} does not have it"
    if _lacks_credentials(error):
        return (
            f"{remote} needs credentials and there are none: set access_key_id and secret_access_key by "
            f"`dvc remote modify --local {remote.name} …`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
            f"for a public bucket, allow_anonymous_login = true"
        )
    if isinstance(error, PermissionError):
        words = {
            "signature": "secret_access_key of this remote or AWS_SECRET_ACCESS_KEY",
            "request time": "the clock of this machine",
            "key": "access_key_id of this remote or AWS_ACCESS_KEY_ID",
            "": "the credentials of this remote or the AWS_… variables",
        }
        place = next(place for word, place in words.items() if word in text.lower())
        return f"{remote} refused to be read ({text}): look at {place}"
    return f"{remote} cannot be read ({text})"
