"""Read DVC's settings: all settings of a checkout, but only safe settings of a repository at a URL.

A checkout belongs to the user, so all of its settings count, as they do for ``dvc pull``. A repository at a
URL belongs to somebody else. Some DVC settings name files to read credentials from, and such a file can name
a command to run. Therefore a repository at a URL may set only the options in ``_ALLOWED``. Every other option
is refused, including options that a later version of DVC may add.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from rllte.errors import HubError, UnknownNameError
from rllte.extras import process_unchanged
from rllte.hub.store.http import public_url

_S3 = {"region", "endpointurl", "allow_anonymous_login"}
_ALLOWED = {"": {"url"}, "http": {"url"}, "https": {"url"}, "s3": {"url", *_S3}}
"""Options that a repository at a URL may set, by the remote's URL scheme ("": a folder in the repository)."""
_ALLOWED_BY_NAME = {"url", "port", "user", "account_name", "projectname", *_S3}
"""Options for all other schemes. Such a remote is used only if the user names it."""
_IGNORED = {
    "verify", "jobs", "checksum_jobs", "worktree", "version_aware", "no_traverse", "listobjects", "protected",
    "slow_link_warning", "shared", "type", "read_timeout", "connect_timeout", "timeout", "sse", "acl",
    "use_ssl",
}  # fmt: skip
"""Options about writing, speed and layout. Reading by hash does not need them, so they are ignored.
``use_ssl`` could only send the user's keys in plain text."""
_REGION = re.compile(r"[a-z0-9-]{1,63}")
_MAX_CHARS, _MAX_LINE = 2**16, 2**10
"""Largest lengths of a repository's ``.dvc/config`` and of a line in it. Long lines take ConfigObj long."""


@process_unchanged()  # DVC wraps sys.stdout when it is imported
def read_config(root: Path | None) -> Any:
    """Return DVC's settings for a checkout, merged with the user's and the machine's settings.

    Args:
        root: The checkout. None gives only the user's and the machine's settings.

    Raises:
        HubError: The settings are not valid.
    """
    from dvc.config import Config, ConfigError

    try:
        return Config(root and str(root / ".dvc"), validate=True)
    except ConfigError as error:
        raise HubError(f"{root / '.dvc/config' if root else 'DVC settings'}: {error}") from None


def read_url_config(root: Path, asked: str | None, where: str) -> tuple[Any, str, str | None]:
    """Return the settings of one remote of a repository at a URL.

    If the user's own settings give a ``url`` or ``endpointurl`` for the remote, the user's settings have
    priority. An S3 remote is read anonymously unless the user named the remote or gave its ``endpointurl``,
    because the user's keys must go only to hosts and buckets that the user chose.

    Args:
        root: The folder that holds the repository's ``.dvc/config``.
        asked: The remote that the user named; None means the repository's default remote.
        where: The name of the repository in error messages.

    Returns:
        The user's settings with this remote added; the remote's name; and the path of the remote inside the
        repository, or None if the remote is not a folder of the repository.

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
            f"{where} has no default DVC remote. Name one of: {', '.join(known) or 'there are none'}"
        )
    if name not in known:
        raise UnknownNameError("remote", name, known, where=where)
    own = config["remote"].get(name, {})
    if "url" in own:
        return config, name, None
    theirs = _allowed(remotes.get(name, {}), name, where, by_name=asked is not None)
    scheme = _scheme(theirs["url"])
    if asked is not None or "endpointurl" in own:
        theirs = {**theirs, **own}
    elif scheme == "s3":
        theirs["allow_anonymous_login"] = "true"
    elif scheme in ("http", "https") and public_url(theirs) is None:  # DVC's client sends what .netrc has
        raise HubError(
            f"{where}: remote {name!r} cannot be read through a SOCKS proxy. "
            f"{_by_name(name, 'To read it by DVC')}"
        )
    folder = _folder(theirs["url"], name, where) if scheme == "" else None
    if folder is None:
        config["remote"][name] = _validated(theirs, name, where)
    return config, name, folder


def _read_repository(path: Path, where: str) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Return the default remote and the options of each remote from a repository's settings."""
    from configobj import ConfigObj, ConfigObjError

    try:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if len(text) > _MAX_CHARS or any(len(line) > _MAX_LINE for line in lines):
            raise HubError(
                f"{where}: .dvc/config is too long, or has a line of more than {_MAX_LINE} characters."
            )
        # reading lists takes ConfigObj exponential time
        sections = ConfigObj(lines, interpolation=False, list_values=False).dict()
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
            remotes[found[1].lower()] = {key.lower(): _unquoted(value) for key, value in options.items()}
    return _unquoted(default) if isinstance(default, str) else None, remotes


def _unquoted(value: Any) -> Any:
    quoted = isinstance(value, str) and re.fullmatch(r"""(["'])(.*)\1""", value)
    return quoted[2] if quoted else value


def _allowed(options: dict[str, Any], name: str, where: str, by_name: bool) -> dict[str, Any]:
    """Return the options of a remote that are safe to use.

    Raises:
        HubError: The remote has a type or an option that a repository at a URL may not set.
    """
    url = options.get("url")
    if not isinstance(url, str):
        raise HubError(f"{where}: remote {name!r} has no url in .dvc/config.")
    scheme = _scheme(url)
    remedy = "If you trust it, set it yourself: dvc remote add --global"
    if scheme not in _ALLOWED and not by_name:
        raise HubError(
            f"{where}: remote {name!r} is of the type {scheme}://, which a repository at a URL may not "
            f"choose. {_by_name(name, 'To use it')}"
        )
    if scheme == "remote":
        raise HubError(f"{where}: remote {name!r} refers to another remote ({url}). {remedy} {name} URL")
    if scheme in ("http", "https") and "@" in url:
        raise HubError(
            f"{where}: remote {name!r} has an '@' in its URL, and a repository at a URL may not set a user "
            f"name. {remedy} {name} URL"
        )
    allowed = _ALLOWED.get(scheme, _ALLOWED_BY_NAME)
    for option, value in options.items():
        if option in allowed and isinstance(value, str) and (option != "region" or _REGION.fullmatch(value)):
            continue
        if option not in _IGNORED:
            raise HubError(
                f"{where}: remote {name!r} sets {option}, which a repository at a URL may not set. "
                f"{remedy} {name} {'URL' if scheme == '' else url}"
            )
    kept = {option: value for option, value in options.items() if option in allowed}
    return {**kept, "url": f"{scheme}://{url.partition('://')[2]}" if scheme else url}


def _by_name(name: str, purpose: str) -> str:
    return f"{purpose}, name the remote: remote={name!r} or RLLTE_HUB_REMOTE={name}."


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def _folder(url: str, name: str, where: str) -> str:
    """Return the path, relative to the repository, of a remote that is a folder in it."""
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


@process_unchanged()
def _validated(options: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the options of a remote after DVC has checked and converted them."""
    from dvc.config import Config, ConfigError

    try:
        checked = Config.validate({"remote": {name: options}})
    except ConfigError as error:
        raise HubError(f"{where}: remote {name!r}: {error}") from None
    return dict(checked["remote"][name])
