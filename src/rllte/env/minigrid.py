"""MiniGrid (Chevalier-Boisvert et al., 2023) on envpool.

The observation is the agent's own view, ``(7, 7, 3)`` uint8: object, colour and state of each cell, as
``minigrid`` encodes it. The mission text and the compass direction are left out; the tasks that this
project lists can be solved without them.
"""

from collections.abc import Sequence
from typing import Any

import envpool
import gymnasium as gym
import torch

from rllte.env.vector import EnvpoolVectorEnv, check_task, discrete_space, integers

PREFIX = "MiniGrid-"


def make_envpool_minigrid_env(
    env_id: str = "Empty-6x6-v0",
    num_envs: int = 8,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_threads: int = 0,
) -> EnvpoolVectorEnv:
    """Make a vector of MiniGrid environments.

    Args:
        env_id: With or without the prefix ``MiniGrid-``, such as ``"DoorKey-5x5-v0"``.
        num_envs: How many environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Where observations, rewards and flags go.
        num_threads: envpool's threads; 0 lets it choose. Results do not depend on it.

    Returns:
        Observations ``(num_envs, 7, 7, 3)`` uint8, seven discrete actions, rewards in [0, 1].

    Raises:
        UnknownNameError: envpool has no such task.
    """
    task_id = PREFIX + env_id.removeprefix(PREFIX)
    known = {name: name.removeprefix(PREFIX) for name in envpool.list_all_envs() if name.startswith(PREFIX)}
    check_task("minigrid", env_id, task_id, known)
    return EnvpoolVectorEnv(
        task_id,
        num_envs=num_envs,
        seed=seed,
        device=device,
        observation_space=_view_space,
        action_space=discrete_space,
        read_obs=lambda raw: raw["image"],
        write_action=integers,
        num_threads=num_threads,
    )


def _view_space(space: gym.Space[Any]) -> gym.Space[Any]:
    assert isinstance(space, gym.spaces.Dict)
    return space["image"]
