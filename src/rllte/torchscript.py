"""Models as TorchScript archives: made and loaded here and nowhere else."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from rllte.errors import HubError

METADATA = "metadata.json"


def dump(policy: nn.Module, metadata: Mapping[str, object]) -> bytes:
    """Return a policy as the bytes of a TorchScript archive, wherever it is made.

    Args:
        policy: In eval mode; called with observations alone.
        metadata: Goes into the archive as ``metadata.json``.
    """
    buffer = io.BytesIO()  # a file's name would become part of the bytes
    with _deprecation_silenced():
        text = json.dumps(metadata, indent=2, sort_keys=True)
        torch.jit.save(torch.jit.script(policy), buffer, _extra_files={METADATA: text})
    return _without_debug_files(buffer.getvalue())


def load(data: bytes, name: str, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """Load a model in eval mode.

    Args:
        data: The archive.
        name: What errors call it.
        device: Where the model goes.

    Raises:
        HubError: The bytes are no TorchScript archive.
    """
    with _deprecation_silenced():
        try:
            return torch.jit.load(io.BytesIO(data), map_location=device).eval()
        except RuntimeError as error:
            raise HubError(f"{name} is not a TorchScript model: {str(error).splitlines()[0]}") from None


def _without_debug_files(data: bytes) -> bytes:
    """Drop the debug records, which name the folder that the source was in; loading needs none."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(name), old.read(name))
    return buffer.getvalue()


@contextmanager
def _deprecation_silenced() -> Iterator[None]:
    """Silence that ``torch.jit`` is deprecated: it is still the format that needs no code of ours to run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
