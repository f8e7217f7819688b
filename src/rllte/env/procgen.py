"""Procgen (Cobbe et al., 2020) on envpool, which uses the original engine in C++."""

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import envpool.procgen
import gymnasium as gym
import numpy as np
import torch

from rllte.env.vector import EnvpoolVectorEnv, check_task, discrete_space, integers
from rllte.errors import HubError, UnknownNameError

GAMES = (
    "bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball", "fruitbot", "heist",
    "jumper", "leaper", "maze", "miner", "ninja", "plunder", "starpilot",
)  # fmt: skip
MODES = ("easy", "hard", "extreme", "memory", "exploration")
LAST_LEVEL = 2**31 - 1

_QT_LIBRARIES = (
    "libicudata.so.56",
    "libicuuc.so.56",
    "libicui18n.so.56",
    "libQt5Core.so.5",
    "libQt5Gui.so.5",
)


def make_envpool_procgen_env(
    env_id: str = "coinrun",
    num_envs: int = 64,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_levels: int = 200,
    start_level: int = 0,
    distribution_mode: str = "easy",
    num_threads: int = 0,
    render_mode: str | None = None,
) -> EnvpoolVectorEnv:
    """Make a vector of Procgen games.

    Args:
        env_id: Name of one of the sixteen games, such as ``"coinrun"``.
        num_envs: Number of parallel environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment. It decides the order of
            levels.
        device: Device of observations, rewards and flags.
        num_levels: Number of levels, which are ``start_level`` to ``start_level + num_levels - 1``. 0 stands
            for all levels from ``start_level`` on. (The engine itself takes 0 for all levels and ignores
            ``start_level``, so that levels for evaluation could be levels of training.)
        start_level: The first level.
        distribution_mode: ``"easy"``, ``"hard"``, or another mode that the game has.
        num_threads: Number of envpool's threads; 0 lets envpool choose. Results do not depend on it.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render()``: the observation, 64 × 64 pixels.

    Returns:
        Environments with observations ``(num_envs, 3, 64, 64)`` uint8 and fifteen discrete actions.

    Raises:
        UnknownNameError: There is no such game or mode.
        HubError: There are no such levels, or Qt 5 cannot be loaded.
    """
    if distribution_mode not in MODES:
        raise UnknownNameError("distribution_mode", distribution_mode, MODES)
    if num_levels < 0 or start_level < 0 or start_level + num_levels > LAST_LEVEL:
        raise HubError(
            f"levels {start_level} to {start_level + num_levels - 1} are not in [0, {LAST_LEVEL}). Change "
            "start_level or num_levels."
        )
    check_task("procgen", env_id, env_id, {name: name for name in GAMES})
    _load_qt()
    return EnvpoolVectorEnv(
        f"{env_id.capitalize()}{distribution_mode.capitalize()}-v0",
        num_envs=num_envs,
        seed=seed,
        device=device,
        observation_space=lambda space: gym.spaces.Box(0, 255, space.shape or (), np.uint8),
        action_space=discrete_space,
        read_obs=lambda raw: raw,
        write_action=integers,
        num_levels=num_levels or LAST_LEVEL - start_level,
        start_level=start_level,
        num_threads=num_threads,
        render_mode=render_mode,
    )


@functools.cache
def _load_qt() -> None:
    """Load Qt 5, which envpool's Procgen is linked with, from the wheel PyQt5-Qt5 or from the system.

    envpool tried to import its Procgen when it was imported itself, and remembers the failure. So its Procgen
    is imported again.
    """
    spec = importlib.util.find_spec("PyQt5")
    folders = [Path(place) / "Qt5/lib" for place in (spec.submodule_search_locations or ())] if spec else []
    folder = next((folder for folder in folders if folder.is_dir()), None)
    try:
        if folder is None:  # the system's Qt loads its own ICU
            ctypes.CDLL("libQt5Gui.so.5", ctypes.RTLD_GLOBAL)
        else:
            for name in _QT_LIBRARIES:
                ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise HubError(
            f'Procgen needs Qt 5 ({error}). Install it with: pip install "rllte-hub[train]", which brings '
            f"PyQt5-Qt5, or Debian's package libqt5gui5."
        ) from None
    importlib.reload(envpool.procgen)
