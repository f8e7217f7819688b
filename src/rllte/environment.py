"""What the environment variables ``RLLTE_HUB_…`` say."""

import os
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
