"""Adapter that gives environments of other packages envpool's interface.

It serves tasks that envpool implements differently from their original package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rllte.env.vector import Array, EnvpoolVectorEnv, Infos

AnyEnv = gym.Env[Any, Any]


class PackageVectorEnv(EnvpoolVectorEnv):
    """``EnvpoolVectorEnv`` for environments of another package, stepped one after the other without threads.

    Args:
        task_id: Name of the task.
        make_env: Makes one environment, whose observations must be arrays.
        options: The other options of ``EnvpoolVectorEnv``.
    """

    def __init__(self, task_id: str, *, make_env: Callable[[], AnyEnv], **options: Any) -> None:
        self._make_env = make_env
        super().__init__(task_id, observation_space=_same, read_obs=_same, **options)

    def _make_pool(self, seeds: list[int]) -> Any:
        return _PackagePool([self._make_env() for _ in seeds], seeds)


def _same(value: Any) -> Any:
    return value


class _PackagePool:
    """A list of environments with the interface of envpool's pool.

    Args:
        envs: One or more environments.
        seeds: Seed of each environment's random stream.
    """

    def __init__(self, envs: Sequence[AnyEnv], seeds: Sequence[int]) -> None:
        self._envs = envs
        self._seeds: Sequence[int | None] = seeds
        self.observation_space, self.action_space = envs[0].observation_space, envs[0].action_space

    def reset(self) -> tuple[Array, Infos]:
        obs = [env.reset(seed=seed)[0] for env, seed in zip(self._envs, self._seeds, strict=True)]
        self._seeds = [None] * len(self._envs)
        return np.stack(obs), {}

    def step(self, actions: Array, ids: Array) -> tuple[Array, Array, Array, Array, Infos]:
        """Begin new episodes in the environments that ended."""
        obs = [self._envs[i].reset()[0] for i in ids]
        none = np.zeros(len(ids), np.bool_)
        return np.stack(obs), none.astype(np.float32), none, none, {"env_id": ids}

    def send(self, actions: Array) -> None:
        self._actions = actions

    def recv(self) -> tuple[Array, Array, Array, Array, Infos]:
        """Make the step whose actions were sent."""
        steps = [env.step(action) for env, action in zip(self._envs, self._actions, strict=True)]
        obs, rewards, terminated, truncated, _ = zip(*steps, strict=True)
        return np.stack(obs), np.array(rewards, np.float32), np.array(terminated), np.array(truncated), {}

    def render(self, env_ids: Array) -> Array:
        return np.stack([self._envs[i].render() for i in env_ids])

    def close(self) -> None:
        for env in self._envs:
            env.close()
