"""MiniGrid (Chevalier-Boisvert et al., 2023) on envpool.

The observation is the agent's own view, ``(7, 7, 3)`` uint8: object, colour and state of each cell, as
``minigrid`` encodes it. The mission text and the compass direction are left out; the tasks that this
project lists can be solved without them.

MultiRoom is not envpool's but the ``minigrid`` package's own. envpool 1.2.5 draws where a room lies from one
place too many: in a third of the levels with two rooms of four cells the door is in a corner of the second,
where nobody gets through.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import torch

from rllte.env.vector import Array, EnvpoolVectorEnv, Infos, check_task, discrete_space, integers
from rllte.registry import load

PREFIX = "MiniGrid-"
_FROM_PACKAGE = "MiniGrid-MultiRoom-"


def make_envpool_minigrid_env(
    env_id: str = "Empty-6x6-v0",
    num_envs: int = 8,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    num_threads: int = 0,
) -> EnvpoolVectorEnv:
    """Make a vector of MiniGrid environments, MultiRoom by the ``minigrid`` package, the others by envpool.

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
    make = _PackageVectorEnv if task_id.startswith(_FROM_PACKAGE) else EnvpoolVectorEnv
    return make(
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


class _PackageVectorEnv(EnvpoolVectorEnv):
    def _make_pool(self, seeds: list[int]) -> Any:
        return _PackagePool(self._task_id, seeds)


class _PackagePool:
    """Environments of the ``minigrid`` package, one after the other, as ``EnvpoolVectorEnv`` uses a pool.

    Args:
        task_id: The name that Gymnasium knows.
        seeds: Of each environment's stream of levels.
    """

    def __init__(self, task_id: str, seeds: Sequence[int]) -> None:
        with warnings.catch_warnings():  # pygame's, of a module of setuptools
            warnings.simplefilter("ignore")
            load("minigrid", f"{task_id} needs")  # registers the environments
            self._envs = [gym.make(task_id, disable_env_checker=True).unwrapped for _ in seeds]
        self._seeds: Sequence[int | None] = seeds
        self.observation_space, self.action_space = (
            self._envs[0].observation_space,
            self._envs[0].action_space,
        )

    def reset(self) -> tuple[Infos, Infos]:
        obs = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, self._seeds, strict=True)]
        self._seeds = [None] * len(self._envs)
        return _images(obs), {}

    def step(self, actions: Array, ids: Array) -> tuple[Infos, Array, Array, Array, Infos]:
        """Begin new episodes in the environments that ended."""
        obs = [self._envs[i].reset()[0] for i in ids]
        none = np.zeros(len(ids), np.bool_)
        return _images(obs), none.astype(np.float32), none, none, {"env_id": ids}

    def send(self, actions: Array) -> None:
        self._actions = actions

    def recv(self) -> tuple[Infos, Array, Array, Array, Infos]:
        """Make the step that was sent."""
        steps = [env.step(action) for env, action in zip(self._envs, self._actions.tolist(), strict=True)]
        obs, rewards, terminated, truncated, _ = zip(*steps, strict=True)
        return _images(obs), np.array(rewards, np.float32), np.array(terminated), np.array(truncated), {}

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _images(obs: Sequence[Any]) -> Infos:
    return {"image": np.stack([one["image"] for one in obs])}
