"""Soft actor-critic with a learned temperature, for continuous actions in [-1, 1].

Paper: Haarnoja et al., 2018, https://arxiv.org/abs/1812.05905. Reference code: denisyarats/pytorch_sac. As
there, a truncated episode is bootstrapped, the target networks move every second update, and log σ is
squashed into its range by tanh. Gradients go through the networks by hand, which is faster, and through the
drawing of actions by autograd.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.networks import TwinCritic, forward_pass, input_gradient, set_gradients, two_layers
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
        noise, log_std, before_tanh = self.draw(self.layers(obs), generator)
        return before_tanh.tanh(), squashed_log_prob(noise, log_std, before_tanh)

    @torch.jit.unused
    def draw(
        self, outputs: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return noise, log σ and mean + σ · noise of what ``layers`` say, each ``(batch, action_dim)``."""
        mean, raw = outputs.chunk(2, dim=1)
        log_std = self.log_std_min + 0.5 * (self.log_std_max - self.log_std_min) * (raw.tanh() + 1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return noise, log_std, mean + log_std.exp() * noise


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
        self._actor_parameters = tuple(self.actor.layers.parameters())
        self._critic_parameters = tuple(
            tuple(layers.parameters()) for layers in (self.critic.q1, self.critic.q2)
        )
        self.log_alpha = torch.tensor(
            math.log(config.initial_temperature), device=self.device
        ).requires_grad_()
        self.optimizers = {
            "actor": self.make_optimizer(self.actor.parameters(), [self.log_alpha]),
            "critic": self.make_optimizer(self.critic.parameters()),
        }
        self.replay = self.make_replay()

    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Draw actions from the policy."""
        return self.actor.draw(self.actor.layers(obs), self.generator)[2].tanh()

    def learn(self, gradient_step: int) -> None:
        """Take one gradient step for critic, actor and temperature; move the target networks."""
        self._learn(self.replay.sample(self.config.batch_size, self.generator))
        if gradient_step % self.config.target_update_interval == 0:
            move_target(self.target_critic, self.critic, self.config.tau)

    def _learn(self, batch: Transitions) -> None:
        self._learn_critic(batch)
        self._learn_actor(batch.obs)

    @torch.no_grad()
    def _targets(self, batch: Transitions) -> torch.Tensor:
        next_actions, log_probs = self.actor.sample(batch.next_obs, self.generator)
        q1, q2 = self.target_critic(batch.next_obs, next_actions)
        return batch.rewards + batch.discounts * (torch.min(q1, q2) - self.log_alpha.exp() * log_probs)

    @torch.no_grad()
    def _learn_critic(self, batch: Transitions) -> None:
        """Make the sum of both critics' mean squared errors smaller."""
        targets = self._targets(batch)[:, None]
        inputs = torch.cat([batch.obs, batch.actions], dim=1)
        for parameters in self._critic_parameters:
            done = forward_pass(parameters, inputs)
            set_gradients(parameters, done, 2 / len(inputs) * (done.outputs - targets))
        self.optimizers["critic"].step()

    @torch.no_grad()
    def _learn_actor(self, obs: torch.Tensor) -> None:
        """Make the mean of α log π - min(q1, q2) smaller, and bring the entropy nearer to its target."""
        done = forward_pass(self._actor_parameters, obs)
        outputs = done.outputs.requires_grad_()
        with torch.enable_grad():
            noise, log_std, before_tanh = self.actor.draw(outputs, self.generator)
            actions, log_probs = before_tanh.tanh(), squashed_log_prob(noise, log_std, before_tanh)
        alpha = self.log_alpha.exp()
        by_actions = -self._value_gradient(obs, actions.detach()) / len(obs)
        by_log_probs = (alpha / len(obs)).expand_as(log_probs)
        (grad,) = torch.autograd.grad([actions, log_probs], [outputs], [by_actions, by_log_probs])
        set_gradients(self._actor_parameters, done, grad)
        # of α (entropy - target entropy), by log α; the target is minus the number of action dimensions
        self.log_alpha.grad = (alpha * (actions.shape[1] - log_probs.detach())).mean()
        self.optimizers["actor"].step()

    def _value_gradient(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the smaller of both values by the actions, ``(batch, action_dim)``."""
        inputs = torch.cat([obs, actions], dim=1)
        done1, done2 = (forward_pass(parameters, inputs) for parameters in self._critic_parameters)
        smaller1 = (done1.outputs < done2.outputs).float()
        grad = input_gradient(self._critic_parameters[0], done1, smaller1)
        grad += input_gradient(self._critic_parameters[1], done2, 1 - smaller1)
        return grad[:, obs.shape[1] :]

    def extra_state(self) -> dict[str, Any]:
        """Return the temperature and the replay."""
        return {"log_alpha": self.log_alpha.detach(), **super().extra_state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take back what ``extra_state`` gave."""
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        super().load_extra_state(state)
