"""MiniGrid (Chevalier-Boisvert et al., 2023) on envpool.

The observation is the agent's own view, ``(7, 7, 3)`` uint8: object, colour and state of each grid cell,
encoded as in the package ``minigrid``. The mission text and the compass direction are left out, because the
tasks that this project lists can be solved without them.

The tasks of MultiRoom use the package ``minigrid`` instead of envpool. envpool 1.2.5 chooses the position of
a room from one place too many. In a third of the levels with two rooms of four cells, the door is therefore
in a corner of the second room, where nobody gets through.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import envpool
import gymnasium as gym
import torch

from rllte.env.package import AnyEnv, PackageVectorEnv
from rllte.env.vector import EnvpoolVectorEnv, check_task, discrete_space, integers
from rllte.extras import process_unchanged, requires_extra

PREFIX = "MiniGrid-"
_FROM_PACKAGE = "MiniGrid-MultiRoom-"
_TILE_SIZE = 32  # pixels, as envpool draws


def make_envpool_minigrid_env(
    env_id: str = "Empty-6x6-v0",
    num_envs: int = 8,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_threads: int = 0,
    render_mode: str | None = None,
) -> EnvpoolVectorEnv:
    """Make a vector of MiniGrid environments: MultiRoom with package ``minigrid``, the others with envpool.

    Args:
        env_id: Name of the task, with or without the prefix ``MiniGrid-``, such as ``"DoorKey-5x5-v0"``.
        num_envs: Number of parallel environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Device of observations, rewards and flags.
        num_threads: Number of envpool's threads; 0 lets envpool choose. Results do not depend on it.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render()``: the whole grid.

    Returns:
        Environments with observations ``(num_envs, 7, 7, 3)`` uint8, seven discrete actions, and rewards in
        [0, 1].

    Raises:
        UnknownNameError: envpool has no such task.
    """
    task_id = PREFIX + env_id.removeprefix(PREFIX)
    known = {name: name.removeprefix(PREFIX) for name in envpool.list_all_envs() if name.startswith(PREFIX)}
    check_task("minigrid", env_id, task_id, known)
    options: dict[str, Any] = {
        "num_envs": num_envs,
        "seed": seed,
        "device": device,
        "action_space": discrete_space,
        "write_action": integers,
        "num_threads": num_threads,
        "render_mode": render_mode,
        "render_fps": 10,
    }
    if task_id.startswith(_FROM_PACKAGE):
        return PackageVectorEnv(task_id, make_env=partial(_make_package_env, task_id, render_mode), **options)
    return EnvpoolVectorEnv(
        task_id, observation_space=_view_space, read_obs=lambda raw: raw["image"], **options
    )


def _view_space(space: gym.Space[Any]) -> gym.Space[Any]:
    assert isinstance(space, gym.spaces.Dict)
    return space["image"]


def _make_package_env(task_id: str, render_mode: str | None) -> AnyEnv:
    with process_unchanged(), warnings.catch_warnings():  # pygame warns about a module of setuptools
        warnings.simplefilter("ignore")
        os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
        with requires_extra(f"{task_id} needs"):
            from minigrid.wrappers import ImgObsWrapper
        wrapper: Callable[[Any], AnyEnv] = ImgObsWrapper
        return wrapper(
            gym.make(
                task_id, render_mode=render_mode, tile_size=_TILE_SIZE, disable_env_checker=True
            ).unwrapped
        )
