"""The house: imports point downwards only, and heavy libraries are imported late."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rllte.hub import MiniGrid

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src/rllte").rglob("*.py"))
ROOMS = ["cli", "publish", "runner", "stages", "hub", "recipes", "agent", "env"]
"""From the top to the bottom; all other modules are the ground."""
HEAVY = ("torch", "dvc", "ray", "gymnasium", "envpool", "scipy", "matplotlib", "pandas", "rich", "tqdm")
NAMES = {"agent": "ppo", "env_id": "Empty-5x5-v0"}


def room(path):
    return path.relative_to(ROOT / "src/rllte").parts[0].removesuffix(".py")


def imported(path):
    """Yield the room of each import of this package in a file, wherever it stands."""
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
    own = room(path)
    above = ROOMS if own not in ROOMS else ROOMS[: ROOMS.index(own)]
    if own == "agent":
        above = [*above, "env"]  # agents and environments do not know each other
    assert set(imported(path)).isdisjoint(above)


def test_names_of_code_in_strings_are_in_the_tables_of_agents_and_environments_alone():
    target = re.compile(r'"rllte\.\w+\.\w')
    users = {str(path.relative_to(ROOT / "src/rllte")) for path in SOURCES if target.search(path.read_text())}
    assert users == {"agent/__init__.py", "env/__init__.py"}


def modules_after(program):
    program += f"\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return result.stdout.strip() or result.stderr


def test_importing_the_public_names_imports_nothing_heavy():
    program = "from rllte.hub import Atari, DMControl, MiniGrid, Procgen, available, diff"
    assert modules_after(program) == "[]"


def test_arrays_that_are_here_are_read_with_numpy_and_pyarrow_alone(hub):
    MiniGrid().load_scores(**NAMES)
    MiniGrid().load_curves(**NAMES)
    program = (
        "from rllte.hub import MiniGrid, available\n"
        f"MiniGrid().load_scores(**{NAMES}), MiniGrid().load_curves(**{NAMES}), available()"
    )
    assert modules_after(program) == "[]"


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
    assert users == ["ray_tasks.py"]
