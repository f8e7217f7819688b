"""What the environment variables ``RLLTE_HUB_…`` say."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rllte.errors import HubError


def cache_dir() -> Path:
    """Return the cache: ``RLLTE_HUB_CACHE``, or ``rllte-hub`` in the user's cache folder."""
    chosen = os.environ.get("RLLTE_HUB_CACHE")
    chosen = chosen or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "rllte-hub")
    return Path(os.path.abspath(os.path.expanduser(chosen)))


def offline() -> bool:
    """Return whether ``RLLTE_HUB_OFFLINE`` forbids the network."""
    return _is_on("RLLTE_HUB_OFFLINE")


def timeout_s() -> float:
    """Return ``RLLTE_HUB_TIMEOUT``: the seconds that one request for a file, or one answer of git, may take.

    Raises:
        HubError: It is not a positive number.
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
    """Return tqdm's ``disable``: True by ``RLLTE_HUB_DISABLE_PROGRESS_BARS``, else None: off in a pipe."""
    return _is_on("RLLTE_HUB_DISABLE_PROGRESS_BARS") or None


@contextmanager
def writing_cache(path: Path) -> Iterator[None]:
    """Make the error of a cache that takes no more files a readable one.

    Args:
        path: What is written inside.

    Raises:
        HubError: It cannot be.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise HubError(
            f"{path} cannot be written ({reason}). What the cache held is unchanged. Make room there. Or: "
            f"Set RLLTE_HUB_CACHE to a folder that can."
        ) from None


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")
