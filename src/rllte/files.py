"""Whole files: written at once or not at all, and named by their hashes."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole: to a temporary file beside it, then by a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def md5(data: bytes) -> str:
    """Return the md5 of some bytes in hexadecimal, as DVC names its objects."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    """Return the sha256 of some bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Open a file, to read and append, that no other process or thread has open by this function.

    Whoever holds it may rename or delete it: others then wait for the next file of its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            if sys.platform != "win32":  # there, each process is for itself
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                yield file
                return


def unlink_unless_locked(path: Path) -> None:
    """Delete a file, if it is there and nobody has it open by ``locked``."""
    with suppress(FileNotFoundError, BlockingIOError):
        if path.is_symlink() or sys.platform == "win32":
            path.unlink()
            return
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                path.unlink()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
