"""The same bytes on Intel processors as on AMD's: a choice among the kernels of MKL, which PyTorch calls."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rllte.errors import HubError, UnknownNameError

VARIABLE = "RLLTE_HUB_KERNELS"
_SOURCE = """
int mkl_serv_intel_cpu(void) { return 0; }
int mkl_serv_intel_cpu_true(void) { return 0; }
int mkl_serv_cpuiszen(void) { return 1; }
"""
"""What MKL asks of the processor. With these answers it takes the kernels that it takes on AMD's Zen."""


def use_zen_kernels() -> None:
    """Let MKL compute as it does on an AMD processor, on any processor with AVX2, until the process ends.

    A C compiler builds a library of three functions, which takes a tenth of a second. The library must be
    there before PyTorch is imported, because its names are looked up then.

    Raises:
        HubError: PyTorch is imported already, or no C compiler is found, or it fails.
    """
    if "torch" in sys.modules:
        raise HubError("PyTorch is imported already. Call use_zen_kernels() before anything imports it.")
    with tempfile.TemporaryDirectory() as folder:
        ctypes.CDLL(str(_build(Path(folder))), mode=ctypes.RTLD_GLOBAL)


def use_chosen_kernels() -> None:
    """Do what ``RLLTE_HUB_KERNELS`` says: ``zen``, or nothing if it is not set.

    Raises:
        UnknownNameError: It says something else.
        HubError: As for ``use_zen_kernels``.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen and chosen != "zen":
        raise UnknownNameError(VARIABLE, chosen, ["zen"])
    if chosen and "torch" not in sys.modules:
        use_zen_kernels()


def _build(folder: Path) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise HubError(f"{VARIABLE}=zen needs a C compiler, and there is no cc, gcc or clang. Install one.")
    library = folder / "zen.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    done = subprocess.run(command, input=_SOURCE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HubError(f"{compiler} could not build the library of {VARIABLE}: {done.stderr.strip()[-500:]}")
    return library
