"""Checkpoints: what training resumes from, in a file that carries its own hash."""

import io
import logging
from pathlib import Path
from typing import Any

import torch

from rllte.files import sha256, write_bytes

_log = logging.getLogger(__name__)
_HEADER = b"RLLTE checkpoint, sha256 of what follows: "


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values, after a line with its hash."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    write_bytes(path, _HEADER + sha256(data).encode() + b"\n" + data)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint.

    A file that is empty, truncated or changed is renamed to ``….damaged``, with a warning, because resuming
    from it could change results silently.

    Returns:
        The state; None if there is no checkpoint, or a damaged one.
    """
    if not path.exists():
        return None
    line, _, data = path.read_bytes().partition(b"\n")
    if line != _HEADER + sha256(data).encode():
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        _log.warning("%s is damaged; it is now %s, and training begins again.", path, aside.name)
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
