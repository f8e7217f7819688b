"""Process-wide settings of PyTorch: devices, CPU threads, deterministic kernels and freed memory."""

import ctypes
import functools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rllte.errors import HubError, UnknownNameError

_DEVICES = ("cpu", "cuda", "mps", "xpu")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def torch_device(device: str | torch.device) -> torch.device:
    """Return a PyTorch device after checking that this machine has it.

    Raises:
        UnknownNameError: PyTorch knows no such kind of device.
        HubError: This machine does not have the device.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UnknownNameError("device", device, _DEVICES) from None
    if found.type not in _DEVICES:  # such as "meta", which holds no values
        raise UnknownNameError("device", device, _DEVICES)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise HubError(
            f"device is {str(found)!r}, but PyTorch sees {count or 'no'} CUDA devices. Try device='cpu'."
        )
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # PyTorch was built without this kind
        reason = str(error).splitlines()[0]
        raise HubError(f"device is {str(found)!r}, but PyTorch says: {reason} Try device='cpu'.") from None
    return found


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Let PyTorch use this many CPU threads inside the block.

    The number of threads changes how sums are split and thereby their last bits, so it is a setting of a run.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Let cuDNN use only deterministic algorithms inside the block: repeated runs then give equal bytes."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next batch; other C libraries are not changed.

    By default, glibc returns the memory of every large tensor to the system, which must then clear each page
    again. On two cores this took a third of the time of a residual network's update. The change lasts until
    the process ends. Nothing changes if the environment already sets malloc's parameters (``MALLOC_…``,
    ``GLIBC_TUNABLES``) or another allocator (``LD_PRELOAD``).
    """
    chosen = ("GLIBC_TUNABLES", "LD_PRELOAD")
    if platform.libc_ver()[0] != "glibc" or any(
        name in chosen or name.startswith("MALLOC_") for name in os.environ
    ):
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
