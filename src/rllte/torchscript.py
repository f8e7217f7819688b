"""Export policies to TorchScript archives and load them; no other module does either."""

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
    """Export a policy as the bytes of a TorchScript archive.

    The bytes do not depend on the process or the folder in which they are made.

    Args:
        policy: The policy in eval mode; its ``forward`` takes only observations.
        metadata: Values to store in the archive as ``metadata.json``.
    """
    policy = copy.deepcopy(policy)
    for parameter in policy.parameters():  # the archive would store the whole vector that a view belongs to
        parameter.data = parameter.data.clone()
    buffer = io.BytesIO()  # the name of a file would become part of the bytes
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
        data: The bytes of the archive.
        name: The name of the archive in error messages.
        device: The PyTorch device to load the model onto.
        trust_repo: Load the archive without checking which code it could run.

    Raises:
        HubError: The bytes are not a TorchScript archive, or the archive contains something that this
            package's exports do not contain.
    """
    if not trust_repo:
        data = vetted(data, name)
    with _deprecation_silenced():
        try:
            return torch.jit.load(io.BytesIO(data), map_location=device).eval()
        except (RuntimeError, IndexError, ValueError) as error:
            raise HubError(f"{name} is not a TorchScript model: {str(error).splitlines()[0]}") from None


def _forget_compiled_classes() -> None:
    """Make TorchScript name classes as a new process would, regardless of earlier exports.

    PyTorch has no public function for this; its own tests do the same (torch.testing._internal.jit_utils).
    Modules that have already been scripted do not change.
    """
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


def _canonical(data: bytes) -> bytes:
    """Rewrite an archive so that its bytes do not depend on where and when it was made.

    The debug records, which name the folder of the source code, and an id that depends on them are removed;
    loading needs neither. PyTorch numbers classes by how many it has seen before, so they are renumbered from
    0. PyTorch writes some constants in the order of a set, which depends on the process's hash seed, so they
    are sorted.
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
    """Silence the warning that ``torch.jit`` is deprecated.

    TorchScript is still the format that runs without this package's code.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        yield
