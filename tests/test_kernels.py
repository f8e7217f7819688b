"""RLLTE_HUB_KERNELS=zen: what it changes, and what it says when it cannot."""

import os
import subprocess
import sys

import pytest

from rllte.errors import HubError, UnknownNameError
from rllte.kernels import VARIABLE, use_chosen_kernels, use_zen_kernels

ASKED = """
import ctypes
from rllte.kernels import use_zen_kernels
use_zen_kernels()
import torch
names = ("mkl_serv_intel_cpu", "mkl_serv_intel_cpu_true", "mkl_serv_cpuiszen")
print([getattr(ctypes.CDLL(None), name)() for name in names], float(torch.ones(2).dot(torch.ones(2))))
"""


@pytest.mark.slow
def test_mkl_is_told_that_the_processor_is_a_zen():
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 0, 1] 2.0\n"


def test_nothing_changes_without_the_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("rllte.kernels.use_zen_kernels", lambda: pytest.fail("no kernels were asked for"))
    use_chosen_kernels()


def test_other_kernels_are_an_error(monkeypatch):
    monkeypatch.setenv(VARIABLE, "zenn")
    with pytest.raises(UnknownNameError, match=f"Unknown {VARIABLE} 'zenn'. Did you mean 'zen'?"):
        use_chosen_kernels()


def test_it_is_too_late_once_pytorch_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys)
    with pytest.raises(HubError, match="before anything imports it"):
        use_zen_kernels()


def test_a_machine_without_a_compiler_is_told_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(HubError, match="there is no cc, gcc or clang"):
        use_zen_kernels()
