"""Read the environment variables ``RLLTE_HUB_…``."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rllte.errors import HubError


def cache_dir() -> Path:
    """Return the folder of the cache: ``RLLTE_HUB_CACHE``, or ``rllte-hub`` in the user's cache folder.

    Raises:
        HubError: The user has no home folder, and ``RLLTE_HUB_CACHE`` is not set.
    """
    chosen = os.environ.get("RLLTE_HUB_CACHE")
    chosen = chosen or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "rllte-hub")
    folder = os.path.expanduser(chosen)
    if folder.startswith("~"):  # HOME is not set, and the password database does not know the user
        raise HubError(f"The folder {chosen} is not known: there is no home folder. Set RLLTE_HUB_CACHE.")
    return Path(os.path.abspath(folder))


def offline() -> bool:
    """Return whether ``RLLTE_HUB_OFFLINE`` is set, so that nothing may be downloaded."""
    return _is_on("RLLTE_HUB_OFFLINE")


def timeout_s() -> float:
    """Return the time limit in seconds for one file request or one git command, ``RLLTE_HUB_TIMEOUT``.

    Raises:
        HubError: The variable is not a positive number.
    """
    text = os.environ.get("RLLTE_HUB_TIMEOUT") or "120"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise HubError(f"RLLTE_HUB_TIMEOUT is {text!r}; write a number of seconds greater than 0.")
    return seconds


def bars_disabled() -> bool | None:
    """Return the argument ``disable`` of tqdm.

    It is True if ``RLLTE_HUB_DISABLE_PROGRESS_BARS`` is set. Otherwise it is None, which lets tqdm show bars
    only on a terminal.
    """
    return _is_on("RLLTE_HUB_DISABLE_PROGRESS_BARS") or None


@contextmanager
def writing_cache(path: Path) -> Iterator[None]:
    """Convert errors of writing to the cache inside the block into a HubError with advice.

    Args:
        path: The file or folder that the block writes.

    Raises:
        HubError: The path cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise HubError(
            f"{path} cannot be written ({reason}). The cached files are unchanged. Free some space, make the "
            f"folder writable, or set RLLTE_HUB_CACHE to another folder."
        ) from None


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")
