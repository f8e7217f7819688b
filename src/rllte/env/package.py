"""Environments of other packages, where envpool's are another task, behind envpool's interface."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rllte.env.vector import Array, EnvpoolVectorEnv, Infos

AnyEnv = gym.Env[Any, Any]


class PackageVectorEnv(EnvpoolVectorEnv):
    """``EnvpoolVectorEnv`` on environments that are stepped one after the other; they have no threads.

    Args:
        task_id: Their name.
        make_env: Makes one of them; its observations are arrays.
        options: Of ``EnvpoolVectorEnv``.
    """

    def __init__(self, task_id: str, *, make_env: Callable[[], AnyEnv], **options: Any) -> None:
        self._make_env = make_env
        super().__init__(task_id, observation_space=_same, read_obs=_same, **options)

    def _make_pool(self, seeds: list[int]) -> Any:
        return _PackagePool([self._make_env() for _ in seeds], seeds)


def _same(value: Any) -> Any:
    return value


class _PackagePool:
    """Environments as ``EnvpoolVectorEnv`` uses envpool's pool of them.

    Args:
        envs: One or more.
        seeds: Of each environment's random stream.
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
        """Make the step that was sent."""
        steps = [env.step(action) for env, action in zip(self._envs, self._actions, strict=True)]
        obs, rewards, terminated, truncated, _ = zip(*steps, strict=True)
        return np.stack(obs), np.array(rewards, np.float32), np.array(terminated), np.array(truncated), {}

    def close(self) -> None:
        for env in self._envs:
            env.close()
