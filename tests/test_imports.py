"""The house: imports point downwards only, heavy libraries come late, files stay short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src/rllte").rglob("*.py"))
GROUND = {
    "environment",
    "errors",
    "names",
    "files",
    "registry",
    "seeding",
    "tables",
    "torch_setup",
    "torchscript",
    "vetting",
    "common",
}
MAY_IMPORT = {
    "cli": {"cli_store", "pipeline", "agent", "env", "hub"} | GROUND,
    "cli_store": {"pipeline", "agent", "env", "hub"} | GROUND,
    "pipeline": {"pipeline", "agent", "env", "hub"} | GROUND,
    "agent": {"agent"} | GROUND,
    "env": {"env"} | GROUND,
    "hub": {"hub"} | GROUND,
} | dict.fromkeys(GROUND, GROUND)


def layer(path):
    return path.relative_to(ROOT / "src/rllte").parts[0].removesuffix(".py")


def imported(path):
    """Yield the layer of each import of this package in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rllte":
            names = (
                [node.module] if node.module != "rllte" else [f"rllte.{alias.name}" for alias in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "rllte" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    if path.name == "__init__.py" and path.parent.name == "rllte":
        return
    type_checking_only = {"agent"} if path.name == "benchmark.py" else set()
    assert set(imported(path)) <= MAY_IMPORT[layer(path)] | type_checking_only


def test_the_loader_reaches_the_pipeline_in_one_place():
    users = [path.name for path in SOURCES if layer(path) == "hub" and '"rllte.pipeline' in path.read_text()]
    assert users == ["benchmark.py"]


def test_importing_the_loader_imports_nothing_heavy():
    heavy = ("torch", "dvc", "ray", "gymnasium", "envpool", "pyarrow", "scipy", "matplotlib")
    program = f"import sys, rllte.hub; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_arrays_need_neither_torch_nor_a_simulator(hub):
    program = (
        "import sys\n"
        "for name in ('torch', 'envpool', 'gymnasium', 'safetensors', 'scipy', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "from rllte.hub import MiniGrid\n"
        "print(MiniGrid().load_scores('Empty-5x5-v0', 'ppo').shape)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "(2, 4)", result.stderr


def test_one_file_imports_ray():
    users = [path.name for path in SOURCES if re.search(r"^\s*(import|from) ray\b", path.read_text(), re.M)]
    assert users == ["runner.py"]
