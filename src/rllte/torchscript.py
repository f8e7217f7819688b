"""Models as TorchScript archives: made and loaded here and nowhere else."""

import copy
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from rllte.errors import HubError
from rllte.vetting import vetted

METADATA = "metadata.json"
_CONSTANTS = re.compile(rb"(?:^  \w+ : Final\[.*\n)+", re.MULTILINE)


def dump(policy: nn.Module, metadata: Mapping[str, object]) -> bytes:
    """Return a policy as the bytes of a TorchScript archive, wherever it is made.

    Args:
        policy: In eval mode; called with observations alone.
        metadata: Goes into the archive as ``metadata.json``.
    """
    policy = copy.deepcopy(policy)
    for parameter in policy.parameters():  # of a vector of weights an archive would hold the whole
        parameter.data = parameter.data.clone()
    buffer = io.BytesIO()  # a file's name would become part of the bytes
    with _deprecation_silenced():
        text = json.dumps(metadata, indent=2, sort_keys=True)
        _forget_compiled_classes()
        torch.jit.save(torch.jit.script(policy), buffer, _extra_files={METADATA: text})
    return _canonical(buffer.getvalue())


def load(
    data: bytes, name: str, device: str | torch.device = "cpu", *, trust_repo: bool = False
) -> torch.jit.ScriptModule:
    """Load a model in eval mode.

    Args:
        data: The archive.
        name: What errors call it.
        device: Where the model goes.
        trust_repo: Load it without a check of what it could run.

    Raises:
        HubError: The bytes are not a TorchScript archive, or it has something that exports of this package
            do not have.
    """
    if not trust_repo:
        data = vetted(data, name)
    with _deprecation_silenced():
        try:
            return torch.jit.load(io.BytesIO(data), map_location=device).eval()
        except RuntimeError as error:
            raise HubError(f"{name} is not a TorchScript model: {str(error).splitlines()[0]}") from None


def _forget_compiled_classes() -> None:
    """Let TorchScript name classes as in a new process, whatever this one has exported before.

    PyTorch has no public call for this; its own tests do the same (torch.testing._internal.jit_utils).
    Modules that are scripted already stay as they are.
    """
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


def _canonical(data: bytes) -> bytes:
    """Return an archive without what depends on where and when it was made.

    Dropped are the debug records, which name the folder of the source, and an id that depends on them;
    loading needs neither. Classes that PyTorch numbered by how many it had seen before are numbered from 0,
    and constants that it took from a set, in the order of the process's hash seed, are sorted.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kept = [name for name in archive.namelist() if not name.endswith((".debug_pkl", "/serialization_id"))]
        records = {name: archive.read(name) for name in kept}
    numbers = {int(number) for name in kept for number in re.findall(r"___torch_mangle_(\d+)", name)}
    ranks = {b"%d" % number: b"%d" % rank for rank, number in enumerate(sorted(numbers))}

    def plain(text: bytes) -> bytes:
        text = re.sub(rb"(?<=___torch_mangle_)\d+", lambda found: ranks.get(found[0], found[0]), text)
        return re.sub(_CONSTANTS, lambda found: b"".join(sorted(found[0].splitlines(True))), text)

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, record in records.items():
            is_code = name.endswith((".py", ".pkl"))
            archive.writestr(
                zipfile.ZipInfo(plain(name.encode()).decode()), plain(record) if is_code else record
            )
    return buffer.getvalue()


@contextmanager
def _deprecation_silenced() -> Iterator[None]:
    """Silence that ``torch.jit`` is deprecated: it is still the format that needs no code of ours to run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
