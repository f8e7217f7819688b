"""Write files and folders atomically, hash bytes, and lock files."""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rllte.errors import MissingArtifactError

if sys.platform != "win32":
    import fcntl


def read_pulled(root: Path, path: str, pull: str | None = None) -> bytes:
    """Return the bytes of a file that DVC pulls into a checkout.

    Args:
        root: The folder of the checkout.
        path: The file, relative to the checkout.
        pull: What the error says to pull; the default is the file itself.

    Raises:
        MissingArtifactError: The file is not here.
    """
    try:
        return (root / path).read_bytes()
    except FileNotFoundError:
        advice = f"Get it with: dvc pull {pull or path}"
        raise MissingArtifactError(path, f"{path} is not here. {advice}") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: write a temporary file in the same folder, then rename it.

    The file gets the permissions that the process's umask leaves, so that a group can share a folder.
    """
    with temporary_file(path) as temporary, temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Give a path in the same folder; after the block, the file there takes the place of ``path``.

    After an error nothing is left of it, and ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # such as a full disk
            error.filename = str(path)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path``; after the block, it is moved to ``path``.

    After an error nothing is left of it.

    Raises:
        OSError: ``path`` has become a file or a folder that is not empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    temporary.mkdir()  # with the permissions that the umask leaves, not mkdtemp's 0700
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def md5(data: bytes) -> str:
    """Return the md5 of some bytes in hexadecimal; DVC names its objects by it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    """Return the sha256 of some bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file under an exclusive lock, for reading and appending; create it if needed.

    Other processes and threads that call this function for the same path wait. The holder of the lock may
    rename or delete the file; the next caller then locks a new file at that path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            if sys.platform != "win32":  # Windows has no flock, so files are not locked there
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                yield file
                return


def unlink_unless_locked(path: Path) -> None:
    """Delete a file if it exists and nobody holds it with ``locked``."""
    with suppress(FileNotFoundError, BlockingIOError):
        if path.is_symlink() or sys.platform == "win32":
            path.unlink()
            return
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                path.unlink()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still the file at this path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
