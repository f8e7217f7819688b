"""A small wrapper around git: resolve revisions, and read single files of a commit.

A repository is a folder or a URL. For a URL, the cache keeps a bare repository with commits and trees. Files
are downloaded when they are needed, many in one request, if the server supports partial clones.
"""

import errno
import functools
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rllte.config import cache_dir, offline, timeout_s, writing_cache
from rllte.errors import HubError, UnknownNameError
from rllte.files import locked, write_bytes

_URL = re.compile(r"(https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")
_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]*)(:\d*)?[)\]'\",.;:]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_BYTES = 2**28  # for catalogue and settings together; thousands of times what this repository has
_SLACK_BYTES = 2**20  # by which files may be larger than the catalogue says, to be told as damaged
_MAX_LISTING_BYTES = 2**26  # trees that contain one tree many times have listings without end
_BYTES_PER_S = 100_000  # the slowest large transfer that the time limit allows
_LONGEST_S = 3600.0
_ALL_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_OWN_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set if we run inside a git hook


class GitError(HubError):
    """git failed, or the server did not answer in time."""


def is_url(repo: str) -> bool:
    """Return whether a repository is given as a URL, such as ``https://…`` or ``git@host:path``."""
    return _URL.match(repo) is not None


def without_password(text: str) -> str:
    """Return a text without the user names, passwords and queries of its URLs; a query may hold a token."""
    return re.sub(r"://\S+", _without_secrets, text)


def _without_secrets(url: re.Match[str]) -> str:
    plain = re.split("[?#]", url[0][3:], maxsplit=1)[0]
    authority, slash, path = plain.partition("/")
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host) or "@" in path:  # it may be part of a password
        return f"://…{path.rpartition('@')[2]}" if "@" in path else "://…"
    return f"://{host}{slash}{path}"


@functools.cache
def resolve(repo: str, rev: str) -> str:
    """Return the full hash of the commit that a tag, branch or commit names.

    A process resolves each revision only once. A tag of a URL is looked up once and then kept in the cache.
    If the server cannot be reached, a branch keeps its last known commit, with a warning. With
    ``RLLTE_HUB_OFFLINE``, it keeps that commit without a warning.

    Raises:
        UnknownNameError: The repository has no such revision.
        HubError: The repository cannot be reached, and the cache does not know the revision.
    """
    if _COMMIT.fullmatch(rev):  # reading its files will show whether it exists
        return rev
    if not is_url(repo):
        found = _resolve_local(repo, rev)
        remember(repo, rev, found, "commit")
        return found
    known = read_refs(repo).get(rev)
    if known and (known["kind"] == "tag" or offline()):
        return str(known["commit"])
    if offline():
        raise HubError(_offline_message(f"the revision {rev!r} of {without_password(repo)}"))
    try:
        commit, kind = _resolve_url(repo, rev)
    except GitError as error:
        if not known:
            raise
        warnings.warn(f"{error} {rev!r} stays at {known['commit']}, its last known commit.", stacklevel=2)
        return str(known["commit"])
    remember(repo, rev, commit, kind)
    return commit


def _resolve_local(repo: str, rev: str, where: str = "") -> str:
    try:
        commit = _git("rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}", folder=repo)
    except GitError:
        names = _git("for-each-ref", "--format=%(refname:short)", "refs/tags", "refs/heads", folder=repo)
        raise UnknownNameError(
            "revision", rev, names.decode(errors="replace").split(), where=where or repo
        ) from None
    return commit.decode().strip()


def _resolve_url(url: str, rev: str) -> tuple[str, str]:
    lines = _git("ls-remote", "--", url, limit_s=timeout_s()).decode(errors="replace").splitlines()
    refs = {name: commit for commit, name in (line.split("\t", 1) for line in lines)}
    for name, kind in (
        (f"refs/tags/{rev}^{{}}", "tag"),
        (f"refs/tags/{rev}", "tag"),
        (f"refs/heads/{rev}", "branch"),
        (rev if rev == "HEAD" else "", "branch"),
    ):
        if name in refs:
            return refs[name], kind
    if re.fullmatch("[0-9a-f]{4,39}", rev):
        _fetch_history(url)
        return _resolve_local(str(_mirror(url)), rev, where=without_password(url)), "commit"
    names = [name.split("/", 2)[2] for name in refs if name.startswith(("refs/tags/", "refs/heads/"))]
    raise UnknownNameError(
        "revision", rev, (name for name in names if not name.endswith("^{}")), where=without_password(url)
    )


def read_files(repo: str, commit: str, paths: Iterable[str], num_bytes: int = 0) -> dict[str, bytes]:
    """Return the contents of files of a commit, by path.

    Links and submodules are left out.

    Args:
        repo: A folder or a URL.
        commit: The full hash of the commit.
        paths: The files to read, and folders whose files are all read.
        num_bytes: The expected total size in bytes, if known; 0 if not. A larger transfer gets a longer time
            limit.

    Raises:
        HubError: The repository does not have the commit, cannot be reached, or has files that are too large.
    """
    folder = _with_commit(repo, commit)
    try:
        rows = _git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths, folder=folder).decode(
            errors="replace"
        )
    except GitError:
        _resolve_local(folder, commit)  # if the commit is missing, this error lists what exists
        raise
    oids: dict[str, str] = {}
    for row in rows.split("\0")[:-1]:
        facts, path = row.split("\t", 1)
        mode, kind, oid = facts.split(" ")
        if kind == "blob" and mode != "120000":
            oids[path] = oid
    _fetch_missing(repo, folder, commit, set(oids.values()), num_bytes)
    asked = "\n".join(oids.values()) + "\n"
    if not oids:
        return {}
    size = _check_size(repo, folder, commit, asked, num_bytes)
    max_bytes = size + 100 * len(oids)  # and a line before each file
    answer = _git("cat-file", "--batch", folder=folder, stdin=asked.encode(), max_bytes=max_bytes)
    files, position = {}, 0
    for path in oids:
        end = answer.index(b"\n", position)
        header = answer[position:end].split(b" ")
        if len(header) != 3:
            raise HubError(f"{without_password(repo)}: {path} of {commit[:12]} cannot be read.")
        size = int(header[2])
        files[path] = answer[end + 1 : end + 1 + size]
        position = end + size + 2
    return files


def _check_size(repo: str, folder: str, commit: str, asked: str, num_bytes: int) -> int:
    """Return the size of objects in bytes, before they are read."""
    rows = _git("cat-file", "--batch-check=%(objectsize)", folder=folder, stdin=asked.encode()).split()
    size = sum(int(row) for row in rows if row.isdigit())
    limit = num_bytes + _SLACK_BYTES if num_bytes else _MAX_BYTES
    if size > limit:
        what = "the files" if num_bytes else "catalogue and settings"
        raise HubError(
            f"{without_password(repo)} at {commit[:12]}: {what} have {size:,} bytes; the limit is {limit:,}."
        )
    return size


def _with_commit(repo: str, commit: str) -> str:
    """Return the folder of a git repository that contains the commit and its trees; fetch them if needed."""
    if not is_url(repo):
        return repo
    folder = str(_mirror(repo))
    if not _has(folder, commit):
        try:
            _fetch(repo, f"{commit}:refs/revisions/{commit}", "--depth=1")
        except GitError:  # some servers do not send a commit by its hash
            _fetch_history(repo)
    if not _has(folder, commit):
        raise UnknownNameError(
            "revision", commit, (), where=without_password(repo), hint="No branch or tag contains it."
        )
    return folder


def _has(folder: str, commit: str) -> bool:
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}", folder=folder)
    except GitError:
        return False
    return True


def _fetch_missing(repo: str, folder: str, commit: str, oids: set[str], num_bytes: int) -> None:
    """Fetch, in one request, the objects of a commit that a partial clone has left on the server."""
    if not is_url(repo):
        return
    listing = ("rev-list", "--objects", "--no-object-names", "--no-walk", "--missing=print", commit)
    lines = _git(*listing, folder=folder).decode().splitlines()
    missing = {line[1:] for line in lines if line.startswith("?")} & oids
    if missing:  # with negotiation, the server would assume that our commits already include them
        _fetch(repo, *sorted(missing), settings=("fetch.negotiationAlgorithm=noop",), num_bytes=num_bytes)


def _mirror(url: str) -> Path:
    """Return the bare repository that the cache keeps for a URL; make it if needed.

    git refuses a repository of another user, so each user of a shared cache has one.
    """
    folder = cache_dir() / "git" / f"{_key(url)}.git"
    if folder.exists() and hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        folder = folder.with_name(f"{_key(url)}-{os.getuid()}.git")
    if not folder.exists():
        with writing_cache(folder), locked(folder.with_suffix(".lock")):
            if not folder.exists():
                begun = folder.with_suffix(".new")
                _git("init", "--quiet", "--bare", "--template=", str(begun))  # or completes a stopped init
                begun.rename(folder)
    return folder


def _fetch_history(url: str) -> None:
    """Fetch all commits of all branches and tags, including the parents of commits fetched alone."""
    is_shallow = (_mirror(url) / "shallow").exists()
    _fetch(url, *_ALL_REFS, *(["--unshallow"] if is_shallow else []))


def _fetch(url: str, *what: str, settings: tuple[str, ...] = (), num_bytes: int = 0) -> None:
    if offline():
        raise HubError(_offline_message(f"{without_password(url)} at that revision"))
    options = [what_ for what_ in what if what_.startswith("--")]
    refs = [what_ for what_ in what if not what_.startswith("--")]
    origin = (f"remote.origin.url={url}", "remote.origin.promisor=true", "gc.auto=0")
    given = [word for setting in (*origin, *settings) for word in ("-c", setting)]  # no password is stored
    fetch = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--filter=blob:none", *options)
    mirror = _mirror(url)
    with writing_cache(mirror), locked(mirror.with_suffix(".lock")):
        limit_s = min(timeout_s() + num_bytes / _BYTES_PER_S, max(timeout_s(), _LONGEST_S))
        stdin = "\n".join(refs).encode()
        try:
            _git(*given, *fetch, "origin", "--stdin", folder=str(mirror), stdin=stdin, limit_s=limit_s)
        except GitError as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
        finally:
            for part in (mirror / "objects/pack").glob("tmp_*"):  # of a fetch that was stopped
                part.unlink(missing_ok=True)


def _git(
    *arguments: str,
    folder: str | None = None,
    stdin: bytes = b"",
    limit_s: float | None = None,
    max_bytes: int = _MAX_LISTING_BYTES,
) -> bytes:
    """Run git and return its standard output.

    Args:
        arguments: The command and its options.
        folder: The repository to run it in.
        stdin: The standard input of git.
        limit_s: The time limit in seconds, after which git and its child processes are killed; None for no
            limit.
        max_bytes: The largest accepted output.

    Raises:
        GitError: git failed, or exceeded one of the limits.
        HubError: git is not installed.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _OWN_VARIABLES}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if offline():
        environment["GIT_NO_LAZY_FETCH"] = "1"
    command = ["git", *(("-C", folder) if folder else ()), *arguments]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, env=environment, stdin=given, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise HubError("git is not installed; loading a revision needs it.") from None
        out = _output(process, arguments, limit_s, max_bytes)
        errors.seek(0)
        err = errors.read(_MAX_LISTING_BYTES)
    if process.returncode:
        text = " ".join(without_password(err.decode(errors="replace")).split()).rstrip(".")
        raise GitError(f"git says: {text[-300:] or f'exit code {process.returncode}'}.")
    return out


def _output(
    process: "subprocess.Popen[bytes]", arguments: tuple[str, ...], limit_s: float | None, max_bytes: int
) -> bytes:
    """Return all that a process writes; kill it and its children if that is too much or takes too long."""
    assert process.stdout is not None
    expired = threading.Event()

    def end() -> None:
        expired.set()
        _kill(process)

    timer = threading.Timer(limit_s or 0, end)
    timer.daemon = True
    if limit_s is not None:
        timer.start()
    try:
        out = process.stdout.read(max_bytes + 1)
        if len(out) > max_bytes:
            _kill(process)
        process.wait()
    except BaseException:  # such as Ctrl+C
        _kill(process)
        process.wait()
        raise
    finally:
        timer.cancel()
        process.stdout.close()
    if expired.is_set():
        raise GitError(
            f"git {_command(arguments)} got no complete answer within {limit_s:g} s; RLLTE_HUB_TIMEOUT sets "
            "the limit."
        )
    if len(out) > max_bytes:
        raise GitError(f"git {_command(arguments)} answered with more than {max_bytes:,} bytes.")
    return out


def _command(arguments: tuple[str, ...]) -> str:
    """Return the git command among the arguments, such as ``fetch``, skipping ``-c`` settings."""
    return next(word for i, word in enumerate(arguments) if "-c" not in (word, arguments[i - 1] if i else ""))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children, because git uses child processes for the network."""
    if process.returncode is None:  # as long as nobody has waited for it, its number is not given away
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _offline_message(what: str) -> str:
    return (
        f"RLLTE_HUB_OFFLINE is set, so nothing is downloaded, and the cache does not have {what}. "
        f"Unset it, then load or pull once."
    )


def _key(repo: str) -> str:
    return hashlib.sha256(repo.encode()).hexdigest()[:16]


def _refs_file(repo: str) -> Path:
    return cache_dir() / "refs" / f"{_key(repo)}.json"


def read_refs(repo: str) -> dict[str, dict[str, str]]:
    """Return the pinned revisions of a repository: ``commit`` and ``kind`` by revision name."""
    return read_refs_file(_refs_file(repo))[1]


def read_refs_file(file: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the repository and its pinned revisions from a file of the cache's ``refs`` folder."""
    try:
        content = json.loads(file.read_bytes())
        rows = content["revs"].items()
        return content["repo"], {rev: {"commit": row["commit"], "kind": row["kind"]} for rev, row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", {}


def forget(file: Path, revs: Collection[str]) -> None:
    """Remove revisions from a file of the cache's ``refs`` folder."""
    with _refs_to_change(file) as refs:
        for rev in revs:
            refs.pop(rev, None)


def remember(repo: str, rev: str, commit: str, kind: str) -> None:
    """Pin a revision, so that pruning keeps its files.

    If the cache cannot be written, nothing is recorded: such a cache cannot be pruned either.
    """
    row = {"commit": commit, "kind": kind}
    if read_refs(repo).get(rev) != row:
        with suppress(OSError), _refs_to_change(_refs_file(repo), without_password(repo)) as refs:
            refs[rev] = row


@contextmanager
def _refs_to_change(file: Path, repo: str = "") -> Iterator[dict[str, dict[str, str]]]:
    with locked(file.with_suffix(".lock")):
        known, refs = read_refs_file(file)
        yield refs
        write_bytes(file, json.dumps({"repo": known or repo, "revs": refs}, indent=1).encode())
