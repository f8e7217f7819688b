"""What off-policy agents with continuous actions share: filling a replay, and learning from its samples."""

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rllte.agent.base import Agent
from rllte.agent.evaluation import Envs
from rllte.agent.replay import Replay, StateReplay, Transitions
from rllte.agent.settings import between, count, positive
from rllte.errors import HubError


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig:
    """Settings of every off-policy agent. ``pipelines/**/params.yaml`` holds their values.

    Attributes:
        num_envs: Number of parallel environments. One gradient step follows each env step.
        buffer_size: Number of transitions that the replay holds.
        learning_starts: Number of env steps with uniformly random actions before learning starts.
        batch_size: Number of transitions in one gradient step.
        learning_rate: Learning rate of Adam.
        adam_eps: ε of Adam.
        gamma: Discount factor γ.
        tau: Fraction τ of the remaining distance by which target networks move towards their sources.
        hidden_dim: Width of the two hidden layers of every network.
    """

    num_envs: int = count(1, 10_000)
    buffer_size: int = count()
    learning_starts: int = count(0)
    batch_size: int = count()
    learning_rate: float = positive(1.0)
    adam_eps: float = positive(1.0)
    gamma: float = between(0.0, 1.0)
    tau: float = between(0.0, 1.0)
    hidden_dim: int = count(1, 2**16)


class OffPolicyAgent(Agent):
    """An agent that steps every environment once, then takes one gradient step for each of these steps."""

    config: OffPolicyConfig
    replay: Replay

    @property
    def steps_per_update(self) -> int:
        """Number of env steps in one update: one step of each environment."""
        return self.config.num_envs

    def make_replay(self) -> Replay:
        """Return an empty replay of states.

        Raises:
            HubError: The replay would be too small for one minibatch.
        """
        config = self.config
        if config.buffer_size < config.batch_size:
            raise HubError(
                f"buffer_size is {config.buffer_size}; write batch_size ({config.batch_size}) or more."
            )
        (obs_dim,), (action_dim,) = self.observation_space.shape, self.action_space.shape
        return StateReplay(config.buffer_size, obs_dim, action_dim, self.device)

    def make_optimizer(self, *groups: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """Return an Adam optimizer of several groups of parameters."""
        parameters = [parameter for group in groups for parameter in group]
        return torch.optim.Adam(parameters, self.config.learning_rate, eps=self.config.adam_eps, fused=True)

    def sample(self) -> Transitions:
        """Return the transitions of one gradient step."""
        return self.replay.sample(self.config.batch_size, self.generator)

    @abc.abstractmethod
    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the actions ``(num_envs, action_dim)`` to take in training."""

    @abc.abstractmethod
    def learn(self, env_step: int) -> None:
        """Take the gradient step that follows an env step."""

    def start_segment(self) -> None:
        """Begin new episodes in the replay."""
        self.replay.begin()

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Step every environment once; after ``learning_starts``, take one gradient step for each step."""
        learning = self.env_step >= self.config.learning_starts
        next_obs = self._step(envs, obs, learning)
        if learning:
            for i in range(self.config.num_envs):
                self.learn(self.env_step + i)
        return next_obs

    @torch.no_grad()
    def _step(self, envs: Envs, obs: torch.Tensor, learning: bool) -> torch.Tensor:
        if learning:
            actions = self.explore(obs)
        else:
            shape = (self.config.num_envs, *self.action_space.shape)
            actions = 2 * torch.rand(shape, generator=self.generator, device=self.device) - 1
        next_obs, rewards, terminated, truncated, infos = envs.step(actions)
        self.record_episodes(infos)
        discounts = self.config.gamma * (~terminated).float()
        last_obs = infos.get("final_obs", next_obs)
        self.replay.add(Transitions(obs, actions, rewards, discounts, last_obs), terminated | truncated)
        return next_obs

    def extra_state(self) -> dict[str, Any]:
        """Return the replay."""
        return {"replay": self.replay.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the replay."""
        self.replay.load_state_dict(state["replay"])


@torch.no_grad()
def move_target(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move a target network: θ' ← θ' + τ (θ - θ'), where θ are the weights of its source."""
    moved: list[torch.Tensor] = list(target.parameters())
    torch._foreach_lerp_(moved, list[torch.Tensor](source.parameters()), tau)
