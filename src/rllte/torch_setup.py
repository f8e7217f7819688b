"""What this package asks of PyTorch as a whole: a device that exists, a number of threads, memory kept."""

import ctypes
import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rllte.errors import HubError, UnknownNameError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def torch_device(device: str | torch.device) -> torch.device:
    """Return a device that is there.

    Raises:
        UnknownNameError: There is no such kind of device.
        HubError: This machine has no such device.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UnknownNameError("device", device, ("cpu", "cuda", "cuda:0", "mps")) from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise HubError(
            f"device is {str(found)!r}, but PyTorch sees {count or 'no'} CUDA devices. Try device='cpu'."
        )
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # as PyTorch says it for kinds that it is built without
        reason = str(error).splitlines()[0]
        raise HubError(f"device is {str(found)!r}, but PyTorch says: {reason} Try device='cpu'.") from None
    return found


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Compute with this many CPU threads inside the block.

    The number changes how sums are split, and with that their last bits: it is a setting of a run.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Let cuDNN take only algorithms that add in a fixed order inside the block, for the same bytes again."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next batch, where that is glibc.

    By default it gives every large tensor back to the system, which then has to clear each of its pages
    again: measured on two cores, a third of the time of a residual network's update. It holds for the
    process from here on. A process that sets malloc's parameters itself
    (``MALLOC_…``, ``GLIBC_TUNABLES``, another allocator in ``LD_PRELOAD``) is left alone.
    """
    chosen = ("GLIBC_TUNABLES", "LD_PRELOAD")
    if platform.libc_ver()[0] != "glibc" or any(
        name in chosen or name.startswith("MALLOC_") for name in os.environ
    ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
