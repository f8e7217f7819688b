"""Play whole episodes with a policy."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch

from rllte.errors import HubError

Envs = gym.vector.VectorEnv[torch.Tensor, torch.Tensor, torch.Tensor]
Act = Callable[[torch.Tensor], torch.Tensor]


class AsyncEnvs(Protocol):
    """Environments whose step has two halves, so that the caller can compute between them."""

    def step_async(self, actions: torch.Tensor) -> None:
        """Begin a step."""

    def step_wait(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Wait for the step, and return what ``step`` returns."""


class Episodes(NamedTuple):
    """Returns float64 and lengths int64 (in agent steps) of played episodes, both ``(num_episodes,)``."""

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]


def play_episodes(act: Act, envs: Envs, num_episodes: int) -> Episodes:
    """Play the same number of episodes in every environment, counted from its first, and return them.

    Taking whichever episodes finish first would favour short ones. Episode k of environment i is entry
    ``k * num_envs + i``.

    Args:
        act: Maps observations to actions.
        envs: The environments. They are reset first.
        num_episodes: Total number of episodes, a multiple of ``envs.num_envs``.

    Raises:
        HubError: ``num_episodes`` is not a positive multiple of ``num_envs``.
    """
    rounds, rest = divmod(num_episodes, envs.num_envs)
    if rest or rounds < 1:
        raise HubError(f"num_episodes is {num_episodes}; write a multiple of num_envs ({envs.num_envs}).")
    returns = np.zeros((rounds, envs.num_envs))
    lengths = np.zeros((rounds, envs.num_envs), np.int64)
    played = np.zeros(envs.num_envs, np.int64)
    obs, _ = envs.reset()
    while played.min() < rounds:
        obs, _, _, _, infos = envs.step(act(obs))
        for i in np.flatnonzero(infos.get("_episode", ())):
            if played[i] < rounds:
                returns[played[i], i] = infos["episode"]["r"][i]
                lengths[played[i], i] = infos["episode"]["l"][i]
                played[i] += 1
    return Episodes(returns.ravel(), lengths.ravel())


def acting(
    policy: Act,
    action_space: gym.Space[object],
    deterministic: bool,
    generator: torch.Generator | None = None,
) -> Act:
    """Turn a policy into a function from observations to actions.

    Args:
        policy: Maps observations to logits for a discrete space, or to actions in [-1, 1] for a continuous
            one.
        action_space: Action space of one environment.
        deterministic: Whether to take the most probable action. Otherwise the action is sampled from the
            softmax of the logits. The output of a continuous policy is always its deterministic action.
        generator: Random generator of the samples.
    """

    @torch.no_grad()
    def act(obs: torch.Tensor) -> torch.Tensor:
        output = policy(obs)
        if not isinstance(action_space, gym.spaces.Discrete):
            return output
        if deterministic:
            return output.argmax(dim=1)
        return sample_categorical(output, generator)

    return act


def sample_categorical(logits: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Sample one action for each row of logits ``(batch, num_actions)``; return ``(batch,)`` int64."""
    return torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
