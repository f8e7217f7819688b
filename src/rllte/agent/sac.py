"""Soft actor-critic with a learned temperature, for continuous actions in [-1, 1].

Paper: Haarnoja et al., 2018, https://arxiv.org/abs/1812.05905. Reference code: denisyarats/pytorch_sac. As
there, a truncated episode is bootstrapped, the target networks move every second update, and log σ is
squashed into its range by tanh.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.base import Agent
from rllte.agent.evaluation import Envs
from rllte.agent.networks import mlp
from rllte.agent.replay import Replay, Transitions


@dataclass(frozen=True)
class SACConfig:
    """Settings of SAC; their values stand in the recipes.

    Attributes:
        num_envs: Parallel environments; each step of each is followed by one gradient step.
        buffer_size: Transitions that the replay keeps.
        learning_starts: Env steps with uniformly random actions before learning.
        batch_size: Transitions of one gradient step.
        learning_rate: Of Adam, for actor, critic and temperature.
        adam_eps: Adam's ε.
        gamma: Discount.
        tau: How far the target networks move.
        target_update_interval: Gradient steps between two moves of the target networks.
        initial_temperature: α at the start.
        log_std_min: Lower end of log σ.
        log_std_max: Upper end of log σ.
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
    target_update_interval: int
    initial_temperature: float
    log_std_min: float
    log_std_max: float
    hidden_dim: int


def two_layers(fan_in: int, hidden_dim: int, fan_out: int) -> nn.Sequential:
    """Return a network with two hidden layers; the reference initialises all with gain 1."""
    dims = (fan_in, hidden_dim, hidden_dim, fan_out)
    return mlp(*dims, activation=lambda: nn.ReLU(inplace=True), gain=1.0, last_gain=1.0)


class Actor(nn.Module):
    """Observations to a Gaussian squashed by tanh."""

    def __init__(self, obs_dim: int, action_dim: int, config: SACConfig) -> None:
        super().__init__()
        self.layers = two_layers(obs_dim, config.hidden_dim, 2 * action_dim)
        self.log_std_min, self.log_std_max = config.log_std_min, config.log_std_max

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the deterministic action ``(batch, action_dim)``, tanh of the mean."""
        return self.layers(obs).chunk(2, dim=1)[0].tanh()

    @torch.jit.unused
    def sample(self, obs: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw actions ``(batch, action_dim)``, with their log-probabilities ``(batch,)``."""
        mean, raw = self.layers(obs).chunk(2, dim=1)
        log_std = self.log_std_min + 0.5 * (self.log_std_max - self.log_std_min) * (raw.tanh() + 1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        before_tanh = mean + log_std.exp() * noise
        return before_tanh.tanh(), squashed_log_prob(noise, log_std, before_tanh)


def squashed_log_prob(noise: torch.Tensor, log_std: torch.Tensor, before_tanh: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of ``tanh(mean + exp(log_std) · noise)``, summed over the last axis.

    log(1 - tanh(u)²) is computed as 2 (log 2 - u - softplus(-2u)), which stays exact for large u
    (Haarnoja et al., 2018, appendix C).
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    correction = 2 * (math.log(2) - before_tanh - F.softplus(-2 * before_tanh))
    return (gaussian - correction).sum(dim=-1)


class Critic(nn.Module):
    """Two action-value functions."""

    def __init__(self, obs_dim: int, action_dim: int, config: SACConfig) -> None:
        super().__init__()
        self.q1 = two_layers(obs_dim + action_dim, config.hidden_dim, 1)
        self.q2 = two_layers(obs_dim + action_dim, config.hidden_dim, 1)

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both values, each ``(batch,)``."""
        both = torch.cat([obs, actions], dim=1)
        return self.q1(both).squeeze(1), self.q2(both).squeeze(1)


class SAC(Agent):
    """An off-policy agent that maximises return and entropy."""

    Config = SACConfig
    config: SACConfig

    def build(self) -> None:
        """Make the networks, their optimizers and the replay."""
        config = self.config
        (obs_dim,), (action_dim,) = self.observation_space.shape, self.action_space.shape
        self.actor = self.policy = Actor(obs_dim, action_dim, config).to(self.device)
        self.critic = Critic(obs_dim, action_dim, config).to(self.device)
        self.target_critic = Critic(obs_dim, action_dim, config).to(self.device).requires_grad_(False)
        self.target_critic.load_state_dict(self.critic.state_dict())
        self.modules = {"actor": self.actor, "critic": self.critic, "target_critic": self.target_critic}
        self.log_alpha = torch.tensor(
            math.log(config.initial_temperature), device=self.device
        ).requires_grad_()
        self.optimizers = {
            name: torch.optim.Adam(parameters, config.learning_rate, eps=config.adam_eps, fused=True)
            for name, parameters in (
                ("actor", list(self.actor.parameters())),
                ("critic", list(self.critic.parameters())),
                ("alpha", [self.log_alpha]),
            )
        }
        self.replay = Replay(config.buffer_size, obs_dim, action_dim, self.device)

    @property
    def steps_per_update(self) -> int:
        """One step of each environment."""
        return self.config.num_envs

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Step every environment once, then take as many gradient steps."""
        config = self.config
        learning = self.env_step >= config.learning_starts
        next_obs, transitions = self._step(envs, obs, learning)
        self.replay.add(transitions)
        if learning:
            for i in range(config.num_envs):
                self._learn(self.replay.sample(config.batch_size, self.generator))
                if (self.env_step + i) % config.target_update_interval == 0:
                    self._move_target()
        return next_obs

    @torch.no_grad()
    def _step(self, envs: Envs, obs: torch.Tensor, learning: bool) -> tuple[torch.Tensor, Transitions]:
        if learning:
            actions, _ = self.actor.sample(obs, self.generator)
        else:
            shape = (self.config.num_envs, *self.action_space.shape)
            actions = 2 * torch.rand(shape, generator=self.generator, device=self.device) - 1
        next_obs, rewards, terminated, _, infos = envs.step(actions)
        self.record_episodes(infos)
        discounts = self.config.gamma * (~terminated).float()
        return next_obs, Transitions(obs, actions, rewards, discounts, infos.get("final_obs", next_obs))

    def _learn(self, batch: Transitions) -> None:
        critic_loss = self._critic_loss(batch)
        self.optimizers["critic"].zero_grad()
        critic_loss.backward()
        self.optimizers["critic"].step()

        actions, log_probs = self.actor.sample(batch.obs, self.generator)
        alpha = self.log_alpha.detach().exp()
        q1, q2 = self.critic(batch.obs, actions)
        actor_loss = (alpha * log_probs - torch.min(q1, q2)).mean()
        self.optimizers["actor"].zero_grad()
        actor_loss.backward(inputs=list(self.actor.parameters()))
        self.optimizers["actor"].step()

        # the target entropy is minus the number of action dimensions
        entropy_gap = -log_probs.detach() + actions.shape[1]
        alpha_loss = (self.log_alpha.exp() * entropy_gap).mean()
        self.optimizers["alpha"].zero_grad()
        alpha_loss.backward()
        self.optimizers["alpha"].step()

    def _critic_loss(self, batch: Transitions) -> torch.Tensor:
        with torch.no_grad():
            next_actions, log_probs = self.actor.sample(batch.next_obs, self.generator)
            q1, q2 = self.target_critic(batch.next_obs, next_actions)
            targets = batch.rewards + batch.discounts * (torch.min(q1, q2) - self.log_alpha.exp() * log_probs)
        q1, q2 = self.critic(batch.obs, batch.actions)
        return F.mse_loss(q1, targets) + F.mse_loss(q2, targets)

    @torch.no_grad()
    def _move_target(self) -> None:
        target: list[torch.Tensor] = list(self.target_critic.parameters())
        torch._foreach_lerp_(target, list[torch.Tensor](self.critic.parameters()), self.config.tau)

    def extra_state(self) -> dict[str, Any]:
        """Return the temperature and the replay."""
        return {"log_alpha": self.log_alpha.detach(), "replay": self.replay.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        self.replay.load_state_dict(state["replay"])
