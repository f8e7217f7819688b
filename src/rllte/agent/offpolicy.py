"""What off-policy agents with continuous actions share: steps into a replay, gradient steps out of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rllte.agent.base import Agent
from rllte.agent.evaluation import Envs
from rllte.agent.replay import Replay, Transitions
from rllte.errors import HubError


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig:
    """Settings of every off-policy agent; their values stand in the recipes.

    Attributes:
        num_envs: Parallel environments; each step of each is followed by one gradient step.
        buffer_size: Transitions that the replay keeps.
        learning_starts: Env steps with uniformly random actions before learning.
        batch_size: Transitions of one gradient step.
        learning_rate: Of Adam.
        adam_eps: Adam's ε.
        gamma: Discount.
        tau: How far the target networks move.
        hidden_dim: Of the two hidden layers of every network.
    """

    num_envs: int
    buffer_size: int
    learning_starts: int
    batch_size: int
    learning_rate: float
    adam_eps: float
    gamma: float
    tau: float
    hidden_dim: int


class OffPolicyAgent(Agent):
    """An agent that steps every environment once, then takes as many gradient steps from a replay."""

    config: OffPolicyConfig
    replay: Replay

    @property
    def steps_per_update(self) -> int:
        """One step of each environment."""
        return self.config.num_envs

    def make_replay(self) -> Replay:
        """Return an empty replay.

        Raises:
            HubError: It cannot hold one batch.
        """
        config = self.config
        if config.buffer_size < config.batch_size:
            raise HubError(
                f"buffer_size is {config.buffer_size}; write batch_size ({config.batch_size}) or more."
            )
        (obs_dim,), (action_dim,) = self.observation_space.shape, self.action_space.shape
        return Replay(config.buffer_size, obs_dim, action_dim, self.device)

    def make_optimizer(self, *groups: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """Return an optimizer of several groups of parameters."""
        parameters = [parameter for group in groups for parameter in group]
        return torch.optim.Adam(parameters, self.config.learning_rate, eps=self.config.adam_eps, fused=True)

    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the actions ``(num_envs, action_dim)`` that training takes."""
        raise NotImplementedError

    def learn(self, gradient_step: int) -> None:
        """Take one gradient step; they are numbered as env steps are."""
        raise NotImplementedError

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Step every environment once, then take as many gradient steps."""
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
        self.remember(Transitions(obs, actions, rewards, discounts, last_obs), terminated | truncated)
        return next_obs

    def remember(self, transitions: Transitions, ended: torch.Tensor) -> None:
        """Put a step of every environment into the replay; ``ended`` is ``(num_envs,)`` bool."""
        self.replay.add(transitions)

    def extra_state(self) -> dict[str, Any]:
        """Return the replay."""
        return {"replay": self.replay.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""
        self.replay.load_state_dict(state["replay"])


@torch.no_grad()
def move_target(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move the weights of a target network towards those of its source by a share ``tau``."""
    moved: list[torch.Tensor] = list(target.parameters())
    torch._foreach_lerp_(moved, list[torch.Tensor](source.parameters()), tau)
