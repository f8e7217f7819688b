"""DVC's settings: all of a checkout's, and of a repository at a URL only those that are safe.

A checkout is the user's own, so all of its settings count, as they do for ``dvc pull``. A repository at a URL
is somebody else's. DVC has settings that name files to read credentials from, and such a file can name a
command to run. So only the options of ``_ALLOWED`` are taken from a URL. Every other option is refused, also
one that a later version of DVC may add.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from rllte.errors import HubError, UnknownNameError

_S3 = {"region", "endpointurl", "allow_anonymous_login", "use_ssl"}
_ALLOWED = {"": {"url"}, "http": {"url"}, "https": {"url"}, "s3": {"url", *_S3}}
"""Options that a repository at a URL may set, by the scheme of the remote; "" is a folder of its own."""
_ALLOWED_BY_NAME = {"url", "port", "user", "account_name", "projectname", *_S3}
"""Options of other kinds of remotes, which are used only if the user names the remote."""
_IGNORED = {
    "verify", "jobs", "checksum_jobs", "worktree", "version_aware", "no_traverse", "listobjects", "protected",
    "slow_link_warning", "shared", "type", "read_timeout", "connect_timeout", "timeout", "sse", "acl",
}  # fmt: skip
"""Options about writing, speed and layout, which reading by hash does not need."""


def read_config(root: Path | None) -> Any:
    """Return DVC's settings for a checkout, with those of the user and of the machine.

    Args:
        root: The checkout; None gives the settings of the user and of the machine alone.

    Raises:
        HubError: They are wrong.
    """
    from dvc.config import Config, ConfigError

    try:
        return Config(root and str(root / ".dvc"), validate=True)
    except ConfigError as error:
        raise HubError(f"{root / '.dvc/config' if root else 'DVC settings'}: {error}") from None


def read_url_config(root: Path, asked: str | None, where: str) -> tuple[Any, str, str | None]:
    """Return the settings of one remote of a repository at a URL.

    A remote with a ``url`` or ``endpointurl`` in the user's own settings is the user's: what stands there
    has priority. An S3 remote whose ``endpointurl`` comes from the repository is read anonymously, unless the
    user named the remote: the user's keys are for the hosts that the user knows.

    Args:
        root: The folder that holds the repository's ``.dvc/config``.
        asked: The remote that the user named; None is the repository's default.
        where: What errors call the repository.

    Returns:
        The user's settings with this remote in them, the remote's name, and for a remote that is a folder of
        the repository the path of that folder, else None.

    Raises:
        UnknownNameError: There is no such remote.
        HubError: There is no default remote, or the remote has an option or a type that is not allowed.
    """
    config = read_config(None)
    default, remotes = _read_repository(root / ".dvc/config", where)
    known = [*remotes, *config["remote"]]
    name = (asked or default or config["core"].get("remote") or "").lower()
    if not name:
        raise HubError(
            f"{where} has no default DVC remote. Name one of: {', '.join(known) or 'there is none'}"
        )
    if name not in known:
        raise UnknownNameError("remote", name, known, where=where)
    own = config["remote"].get(name, {})
    if "url" in own:
        return config, name, None
    theirs = _allowed(remotes.get(name, {}), name, where, by_name=asked is not None)
    if asked is not None or "endpointurl" in own:
        theirs = {**theirs, **own}
    elif "endpointurl" in theirs:
        theirs["allow_anonymous_login"] = "true"
    folder = _folder(theirs["url"], name, where) if _scheme(theirs["url"]) == "" else None
    if folder is None:
        config["remote"][name] = _validated(theirs, name, where)
    return config, name, folder


def _read_repository(path: Path, where: str) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Return the default remote and the options of each remote, as a repository's settings say them."""
    from configobj import ConfigObj, ConfigObjError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        sections = ConfigObj(lines, interpolation=False).dict()
    except FileNotFoundError:
        return None, {}
    except (ConfigObjError, ValueError, RecursionError) as error:
        raise HubError(f"{where}: .dvc/config cannot be read: {error}") from None
    core = sections.get("core")
    default = core.get("remote") if isinstance(core, dict) else None
    remotes = {}
    for section, options in sections.items():
        found = re.fullmatch(r'remote "(.+)"', section)
        if found and isinstance(options, dict):
            remotes[found[1].lower()] = {key.lower(): value for key, value in options.items()}
    return default if isinstance(default, str) else None, remotes


def _allowed(options: dict[str, Any], name: str, where: str, by_name: bool) -> dict[str, Any]:
    """Return the options of a remote that may be used.

    Raises:
        HubError: The remote is of a type, or has an option, that a repository at a URL may not set.
    """
    url = options.get("url")
    if not isinstance(url, str):
        raise HubError(f"{where}: remote {name!r} has no url in .dvc/config.")
    scheme = _scheme(url)
    remedy = "If you trust it, set it yourself: dvc remote add --global"
    if scheme not in _ALLOWED and not by_name:
        raise HubError(
            f"{where}: remote {name!r} is of the type {scheme}://, which a repository at a URL may not "
            f"choose. To use it, name the remote: remote={name!r} or RLLTE_HUB_REMOTE={name}."
        )
    if scheme == "remote":
        raise HubError(f"{where}: remote {name!r} refers to another remote ({url}). {remedy} {name} URL")
    allowed = _ALLOWED.get(scheme, _ALLOWED_BY_NAME)
    for option, value in options.items():
        if option in allowed and isinstance(value, str):
            continue
        if option not in _IGNORED:
            raise HubError(
                f"{where}: remote {name!r} sets {option}, which a repository at a URL may not set. "
                f"{remedy} {name} {'URL' if scheme == '' else url}"
            )
    return {option: value for option, value in options.items() if option in allowed}


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def _folder(url: str, name: str, where: str) -> str:
    """Return the path in the repository of a remote that is a folder of it."""
    path = posixpath.normpath(posixpath.join(".dvc", url))
    if (
        path.startswith(("/", "../", "~"))
        or path == ".."
        or "\\" in url
        or "\0" in url
        or url.startswith("~")
    ):
        raise HubError(f"{where}: remote {name!r} is the folder {url!r}, which is outside of the repository.")
    return path


def _validated(options: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the options of a remote as DVC types them."""
    from dvc.config import Config, ConfigError

    try:
        checked = Config.validate({"remote": {name: options}})
    except ConfigError as error:
        raise HubError(f"{where}: remote {name!r}: {error}") from None
    return dict(checked["remote"][name])
