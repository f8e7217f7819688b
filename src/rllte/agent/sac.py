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

from rllte.agent.networks import TwinCritic, two_layers
from rllte.agent.offpolicy import OffPolicyAgent, OffPolicyConfig, move_target
from rllte.agent.replay import Transitions


@dataclass(frozen=True, kw_only=True)
class SACConfig(OffPolicyConfig):
    """Settings of SAC beside those of every off-policy agent.

    Attributes:
        target_update_interval: Gradient steps between two moves of the target networks.
        initial_temperature: α at the start.
        log_std_min: Lower end of log σ.
        log_std_max: Upper end of log σ.
    """

    target_update_interval: int
    initial_temperature: float
    log_std_min: float
    log_std_max: float


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


class SAC(OffPolicyAgent):
    """An off-policy agent that maximises return and entropy."""

    Config = SACConfig
    config: SACConfig

    def build(self) -> None:
        """Make the networks, their optimizers and the replay."""
        config = self.config
        (obs_dim,), (action_dim,) = self.observation_space.shape, self.action_space.shape
        self.actor = self.policy = Actor(obs_dim, action_dim, config).to(self.device)
        self.critic = TwinCritic(obs_dim, action_dim, config.hidden_dim).to(self.device)
        self.target_critic = TwinCritic(obs_dim, action_dim, config.hidden_dim).to(self.device)
        self.target_critic.requires_grad_(False).load_state_dict(self.critic.state_dict())
        self.modules = {"actor": self.actor, "critic": self.critic, "target_critic": self.target_critic}
        self.log_alpha = torch.tensor(
            math.log(config.initial_temperature), device=self.device
        ).requires_grad_()
        self.optimizers = {
            "actor": self.make_optimizer(self.actor),
            "critic": self.make_optimizer(self.critic),
            "alpha": torch.optim.Adam(
                [self.log_alpha], config.learning_rate, eps=config.adam_eps, fused=True
            ),
        }
        self.replay = self.make_replay()

    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Draw actions from the policy."""
        return self.actor.sample(obs, self.generator)[0]

    def learn(self, gradient_step: int) -> None:
        """Take one gradient step for critic, actor and temperature; move the target networks."""
        self._learn(self.replay.sample(self.config.batch_size, self.generator))
        if gradient_step % self.config.target_update_interval == 0:
            move_target(self.target_critic, self.critic, self.config.tau)

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

    def extra_state(self) -> dict[str, Any]:
        """Return the temperature and the replay."""
        return {"log_alpha": self.log_alpha.detach(), **super().extra_state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        super().load_extra_state(state)
