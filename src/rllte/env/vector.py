"""A Gymnasium vector environment on envpool that returns tensors and resets within the step."""

from collections.abc import Callable, Sequence
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector.utils import batch_space

from rllte.errors import HubError, UnknownNameError

_RENDER_MODES = ("rgb_array",)

Array = npt.NDArray[Any]
Infos = dict[str, Any]


class EnvpoolVectorEnv(gym.vector.VectorEnv[torch.Tensor, torch.Tensor, torch.Tensor]):
    """Many copies of one environment, stepped together by envpool.

    When an episode ends, the step returns the first observation of the next episode (Gymnasium's
    ``SAME_STEP`` autoreset). ``infos`` then has these entries for all environments:

    * ``final_obs``: ``(num_envs, *obs_shape)``, the true last observation where an episode ended. A truncated
      episode is bootstrapped from it.
    * ``episode``: ``{"r": (num_envs,) float64, "l": (num_envs,) int64}``, the undiscounted return and the
      length in agent steps of the episodes that ended, 0 elsewhere.
    * ``_episode``: ``(num_envs,)`` bool, whether an episode ended.

    envpool itself resets one step later and spends a step on it. This class makes that step at once, only in
    the environments that ended, so every step returned to the caller is a real transition.

    Args:
        task_id: envpool's name of the task.
        num_envs: Number of parallel environments, at least 1.
        seed: A seed of 0 or more (environment i takes ``seed + i``), or one seed for each environment.
        device: Device of the tensors.
        observation_space: Takes envpool's observation space of one environment, and returns the space of what
            ``read_obs`` returns.
        action_space: Takes envpool's action space of one environment, and returns the space of what
            ``write_action`` takes.
        read_obs: Turns envpool's batch of observations into one array.
        write_action: Turns a batch of actions into envpool's.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render``.
        render_fps: The number of frames per second at which an episode looks natural.
        options: Passed on to ``envpool.make``.

    Attributes:
        stack_size: The number of frames in an observation, the oldest first. The first dimension of an
            observation is then divisible by it, and the first observation of an episode repeats one frame.
    """

    stack_size = 1

    def __init__(
        self,
        task_id: str,
        *,
        num_envs: int,
        seed: int | Sequence[int],
        device: str | torch.device,
        observation_space: Callable[[gym.Space[Any]], gym.Space[Any]],
        action_space: Callable[[gym.Space[Any]], gym.Space[Any]],
        read_obs: Callable[[Any], Array],
        write_action: Callable[[Array], Array],
        render_mode: str | None = None,
        render_fps: int = 15,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise HubError(f"num_envs is {num_envs}; write 1 or more.")
        if render_mode not in (None, *_RENDER_MODES):
            raise UnknownNameError("render_mode", render_mode, _RENDER_MODES)
        self.metadata = {
            "autoreset_mode": gym.vector.AutoresetMode.SAME_STEP,
            "render_modes": list(_RENDER_MODES),
            "render_fps": render_fps,
        }
        self.render_mode = render_mode
        if render_mode is not None:
            options = {"render_mode": render_mode, **options}
        self.num_envs = num_envs
        self.device = torch.device(device)
        self._task_id, self._options = task_id, options
        self._read_obs, self._write_action = read_obs, write_action
        self._start(_seed_list(seed, num_envs))
        self.single_observation_space = observation_space(self._pool.observation_space)
        self.single_action_space = action_space(self._pool.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _start(self, seeds: list[int]) -> None:
        self._seeds, self._fresh = seeds, True
        self._pool = self._make_pool(seeds)

    def _make_pool(self, seeds: list[int]) -> Any:
        """Return envpool's pool, or an object that is used in its place."""
        return envpool.make(
            self._task_id, env_type="gymnasium", num_envs=self.num_envs, seed=seeds, **self._options
        )

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, Infos]:
        """Begin a new episode in every environment.

        Args:
            seed: Restarts the random streams; if None, they continue.
            options: Not used; it is part of Gymnasium's signature.

        Returns:
            ``(obs, infos)``: obs is ``(num_envs, *obs_shape)``.
        """
        seeds = self._seeds if seed is None else _seed_list(seed, self.num_envs)
        if seed is not None and not (self._fresh and seeds == self._seeds):
            self._start(seeds)
        self._fresh = False
        raw, _ = self._pool.reset()
        self._returns = np.zeros(self.num_envs, np.float64)
        self._lengths = np.zeros(self.num_envs, np.int64)
        return self._tensor(self._read_obs(raw)), {}

    def step(
        self, actions: torch.Tensor | Array
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Infos]:
        """Step every environment once.

        Args:
            actions: ``(num_envs,)`` integers, or ``(num_envs, action_dim)`` in [-1, 1].

        Returns:
            ``(obs, rewards, terminated, truncated, infos)``: obs ``(num_envs, *obs_shape)``, rewards
            ``(num_envs,)`` float32, terminated and truncated ``(num_envs,)`` bool.
        """
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: torch.Tensor | Array) -> None:
        """Begin a step and return at once; envpool's threads make the step.

        Args:
            actions: The same as in ``step``.
        """
        array = actions.detach().cpu().numpy() if isinstance(actions, torch.Tensor) else np.asarray(actions)
        self._written = self._write_action(array)
        self._pool.send(self._written)

    def step_wait(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Infos]:
        """Wait for the step that ``step_async`` began, and return what ``step`` returns."""
        raw, rewards, terminated, truncated, info = self._pool.recv()
        obs, rewards = self._read_obs(raw), self._rewards(raw, rewards)
        infos: Infos = {}
        ended = terminated | truncated
        scores, over = self._outcome(rewards, ended, info)
        self._returns += scores
        self._lengths += 1
        if over.any():
            self._report(over, infos)
        if ended.any():
            infos["final_obs"] = self._tensor(obs)
            obs = self._next_obs(obs, ended)
        return (
            self._tensor(obs),
            self._tensor(rewards.astype(np.float32, copy=False)),
            self._tensor(terminated),
            self._tensor(truncated),
            infos,
        )

    def render(self) -> tuple[Array, ...]:
        """Return what each environment shows now, ``(height, width, 3)`` uint8 in red, green and blue.

        Where an episode has just ended, this is the first frame of the next one.

        Raises:
            HubError: The environments were made without ``render_mode="rgb_array"``.
        """
        if self.render_mode is None:
            raise HubError('render needs environments that were made with render_mode="rgb_array".')
        return tuple(self._pool.render(env_ids=np.arange(self.num_envs, dtype=np.int32)))

    def _rewards(self, raw: Any, rewards: Array) -> Array:
        """Return the rewards of a step, from envpool's observations and rewards."""
        return rewards

    def _outcome(self, rewards: Array, ended: Array, info: Infos) -> tuple[Array, Array]:
        """Return the score of each environment in a step, and whether the episode to report is over."""
        return rewards, ended

    def _report(self, over: Array, infos: Infos) -> None:
        infos["episode"] = {"r": self._returns * over, "l": self._lengths * over}
        infos["_episode"] = over
        self._returns[over] = 0.0
        self._lengths[over] = 0

    def _next_obs(self, obs: Array, ended: Array) -> Array:
        """Return the observations after envpool's reset step, which only the environments that ended make.

        envpool ignores the actions of that step.
        """
        ids = np.flatnonzero(ended).astype(np.int32)
        raw, _, _, _, reset = self._pool.step(self._written[ids], ids)
        obs = obs.copy()
        obs[reset["env_id"]] = self._read_obs(raw)
        return obs

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def close_extras(self, **_: Any) -> None:
        """Close envpool's pool, which ends its threads."""
        self._pool.close()


def check_task(benchmark: str, env_id: str, task_id: str, known: dict[str, str]) -> None:
    """Check that envpool has the task.

    Args:
        benchmark: Name of the benchmark, for the error.
        env_id: Name of the task, as the caller wrote it.
        task_id: Name that envpool would give the task.
        known: The env_id of each task of the benchmark, by envpool's name.

    Raises:
        UnknownNameError: There is no such task.
    """
    if task_id not in known:
        raise UnknownNameError("env_id", env_id, known.values(), where=f"benchmark '{benchmark}'")


def integers(actions: Array) -> Array:
    """Return discrete actions in the dtype that envpool takes, int32."""
    return actions.astype(np.int32, copy=False)


def discrete_space(space: gym.Space[Any]) -> gym.Space[Any]:
    """Return a discrete action space without envpool's own attributes."""
    assert isinstance(space, gym.spaces.Discrete)
    return gym.spaces.Discrete(int(space.n))


def _seed_list(seed: int | Sequence[int], num_envs: int) -> list[int]:
    seeds = (
        [int(seed) + i for i in range(num_envs)]
        if isinstance(seed, (int, np.integer))
        else [int(s) for s in seed]
    )
    if len(seeds) != num_envs:
        raise HubError(f"{len(seeds)} seeds for {num_envs} environments; give one for each.")
    if min(seeds) < 0 or max(seeds) >= 2**31:
        raise HubError(f"seed is {seed}; environment seeds lie in [0, 2**31).")
    return seeds
