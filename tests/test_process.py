"""Loading leaves the user's process as it was."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import logging, os, random, sys, warnings

def state():
    root, environment = logging.getLogger(), dict(os.environ)
    streams = [id(sys.stdout), id(sys.stderr)]
    levels = [logging.getLogger(name).level for name in (None, "asyncio", "aiohttp")]
    filters, numbers = list(warnings.filters), random.getstate()
    return [environment, os.getcwd(), streams, list(map(str, root.handlers)), levels, filters, numbers]

import rllte
import ruamel.yaml, torch  # they add filters of their own warnings, for whoever imports them
before = state()
from rllte.hub import Atari, DMControl, MiniGrid
from rllte.env import make_envpool_minigrid_env
MiniGrid().load_scores("Empty-5x5-v0", "ppo")
MiniGrid().load_curves("Empty-5x5-v0", "ppo")
MiniGrid().load_models("Empty-5x5-v0", "ppo")
make_envpool_minigrid_env("Empty-5x5-v0", num_envs=1, seed=0)
MiniGrid().load_apis("Empty-5x5-v0", "ppo").evaluate([0], num_episodes=1)
DMControl().load_apis("finger_spin", "sac")
for old, new in zip(before, state()):
    assert old == new, (old, new)
"""


def test_loading_changes_neither_environment_nor_streams_nor_logging(tmp_path):
    result = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
