"""Rollouts of on-policy agents with discrete actions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import torch

from rllte.agent.evaluation import Envs, sample_categorical
from rllte.agent.returns import generalized_advantages

Network = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Batch(NamedTuple):
    """Samples of a rollout, each ``(batch, …)``; log_probs and values are from the network that acted."""

    obs: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


class Rollout:
    """Buffers for ``num_steps`` steps of ``num_envs`` environments; each rollout overwrites the previous one.

    Args:
        num_steps: Number of steps of each environment.
        num_envs: Number of parallel environments.
        observation_space: Observation space of one environment.
        num_actions: Number of discrete actions.
        device: Device of the buffers.
        memory_format: Layout of a batch of observations, as the encoder takes it.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        observation_space: gym.spaces.Box,
        num_actions: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        shape = (num_steps, num_envs)
        dtype = torch.uint8 if observation_space.dtype == "uint8" else torch.float32
        all_obs = torch.zeros((num_steps * num_envs, *observation_space.shape), dtype=dtype, device=device)
        self.obs = all_obs.contiguous(memory_format=memory_format).unflatten(0, shape)
        self.logits = torch.zeros((*shape, num_actions), device=device)
        self.actions = torch.zeros(shape, dtype=torch.int64, device=device)
        self.values, self.next_values, self.rewards = (torch.zeros(shape, device=device) for _ in range(3))
        self.terminated, self.ended = (torch.zeros(shape, dtype=torch.bool, device=device) for _ in range(2))

    @torch.no_grad()
    def collect(
        self,
        network: Network,
        envs: Envs,
        obs: torch.Tensor,
        generator: torch.Generator,
        record: Callable[[Mapping[str, Any]], None],
    ) -> torch.Tensor:
        """Act with a network, starting from ``obs``, and fill the buffers.

        Args:
            network: Maps observations to logits and values.
            envs: The environments, which are stepped ``num_steps`` times.
            obs: ``(num_envs, *obs_shape)``, the current observations.
            generator: Random generator of the sampled actions.
            record: Called with the infos of each step, unless they are empty.

        Returns:
            The observations after the last step.
        """
        truncations: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        for t in range(len(self.obs)):
            logits, value = network(obs)
            action = sample_categorical(logits, generator)
            self.obs[t], self.logits[t], self.values[t], self.actions[t] = obs, logits, value, action
            obs, self.rewards[t], terminated, truncated, infos = envs.step(action)
            self.terminated[t], self.ended[t] = terminated, terminated | truncated
            if infos:
                record(infos)
                rows = (truncated & ~terminated).nonzero().squeeze(1)
                if len(rows):
                    truncations.append((t, rows, infos["final_obs"][rows]))
        self.next_values[:-1] = self.values[1:]
        self.next_values[-1] = network(obs)[1]
        if truncations:
            last_values = network(torch.cat([last_obs for _, _, last_obs in truncations]))[1]
            for (t, rows, _), values in zip(
                truncations, last_values.split([len(rows) for _, rows, _ in truncations]), strict=True
            ):
                self.next_values[t, rows] = values
        return obs

    @torch.no_grad()
    def batch(self, gamma: float, gae_lambda: float) -> Batch:
        """Return all samples, flattened over time and environments.

        Args:
            gamma: Discount factor γ.
            gae_lambda: λ of generalized advantage estimation.
        """
        arrays = (self.rewards, self.values, self.next_values, self.terminated, self.ended)
        rewards, values, next_values, terminated, ended = (array.cpu().numpy() for array in arrays)
        advantages = torch.from_numpy(
            generalized_advantages(rewards, values, next_values, terminated, ended, gamma, gae_lambda)
        ).to(self.values.device)
        returns = advantages + self.values
        log_probs = self.logits.log_softmax(dim=2).gather(2, self.actions[..., None]).squeeze(2)
        parts = (self.obs, self.actions, log_probs, self.values, advantages, returns)
        return Batch(*(part.flatten(0, 1) for part in parts))
