"""Soft actor-critic with a learned temperature, for continuous actions in [-1, 1].

Paper: Haarnoja et al., 2018, https://arxiv.org/abs/1812.05905. Reference code: denisyarats/pytorch_sac. As in
the reference, a truncated episode is bootstrapped, the target networks move every second update, and tanh
squashes log σ into its range.

The docstring of each function that takes a gradient step states the loss. Gradients with respect to the
networks' weights are computed without autograd, which is faster (see ``speed.py``).
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
from rllte.agent.settings import between, count, positive
from rllte.agent.speed import forward_pass, input_gradient, set_gradients


@dataclass(frozen=True, kw_only=True)
class SACConfig(OffPolicyConfig):
    """Settings of SAC in addition to those of every off-policy agent.

    Attributes:
        target_update_interval: Number of gradient steps between two moves of the target networks.
        initial_temperature: Initial value of the temperature α.
        log_std_min: Lower bound of the policy's log σ.
        log_std_max: Upper bound of the policy's log σ.
    """

    target_update_interval: int = count()
    initial_temperature: float = positive()
    log_std_min: float = between(-100.0, 100.0)
    log_std_max: float = between(-100.0, 100.0)


class Actor(nn.Module):
    """Network from observations to a Gaussian distribution squashed by tanh."""

    def __init__(self, obs_dim: int, action_dim: int, config: SACConfig) -> None:
        super().__init__()
        self.layers = two_layers(obs_dim, config.hidden_dim, 2 * action_dim)
        self.log_std_min, self.log_std_max = config.log_std_min, config.log_std_max

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the deterministic action ``(batch, action_dim)``, tanh of the mean."""
        return self.layers(obs).chunk(2, dim=1)[0].tanh()

    @torch.jit.unused
    def sample(self, obs: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sampled actions ``(batch, action_dim)`` and their log-probabilities ``(batch,)``."""
        noise, log_std, before_tanh = self.draw(self.layers(obs), generator)
        return before_tanh.tanh(), squashed_log_prob(noise, log_std, before_tanh)

    @torch.jit.unused
    def draw(
        self, outputs: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return noise, log σ and mean + σ · noise for outputs of ``layers``.

        Each of the three is ``(batch, action_dim)``.
        """
        mean, raw = outputs.chunk(2, dim=1)
        log_std = self.log_std_min + 0.5 * (self.log_std_max - self.log_std_min) * (raw.tanh() + 1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return noise, log_std, mean + log_std.exp() * noise


def squashed_log_prob(noise: torch.Tensor, log_std: torch.Tensor, before_tanh: torch.Tensor) -> torch.Tensor:
    """Return the log-probability ``(batch,)`` of ``tanh(mean + exp(log_std) · noise)``.

    The term log(1 - tanh(u)²) (Haarnoja et al., 2018, appendix C) is computed as
    2 (log 2 - u - softplus(-2u)), as in the reference code, which stays accurate for large u.

    Args:
        noise: The standard normal noise, ``(batch, action_dim)``.
        log_std: The logarithm of the standard deviation, ``(batch, action_dim)``.
        before_tanh: u, the sampled value before tanh, ``(batch, action_dim)``.
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
        """Return actions that are sampled from the policy."""
        return self.actor.draw(self.actor.layers(obs), self.generator)[2].tanh()

    def learn(self, env_step: int) -> None:
        """Take one gradient step for critics, actor and temperature; move the target networks when due."""
        self._learn(self.sample())
        if env_step % self.config.target_update_interval == 0:
            move_target(self.target_critic, self.critic, self.config.tau)

    def _learn(self, batch: Transitions) -> None:
        self._learn_critic(batch)
        self._learn_actor(batch.obs)

    @torch.no_grad()
    def _targets(self, batch: Transitions) -> torch.Tensor:
        """Return y = r + γ (min(Q'₁, Q'₂)(s', a') - α log π(a' | s')) with a' drawn from π, ``(batch,)``."""
        next_actions, log_probs = self.actor.sample(batch.next_obs, self.generator)
        q1, q2 = self.target_critic(batch.next_obs, next_actions)
        return batch.rewards + batch.discounts * (torch.min(q1, q2) - self.log_alpha.exp() * log_probs)

    @torch.no_grad()
    def _learn_critic(self, batch: Transitions) -> None:
        """Take a gradient step on the critics' loss, mean((Q₁(s, a) - y)² + (Q₂(s, a) - y)²)."""
        targets = self._targets(batch)[:, None]
        inputs = torch.cat([batch.obs, batch.actions], dim=1)
        for parameters in self._critic_parameters:
            critic = forward_pass(parameters, inputs)
            set_gradients(parameters, critic, 2 / len(inputs) * (critic.outputs - targets))
        self.optimizers["critic"].step()

    @torch.no_grad()
    def _learn_actor(self, obs: torch.Tensor) -> None:
        """Take a gradient step on the losses of the actor and of the temperature.

        The actor's loss is mean(α log π(a | s) - min(Q₁, Q₂)(s, a)), where a is drawn from π.
        The temperature's is mean(α (-log π(a | s) - H)), where the target entropy H is minus the number of
        action dimensions. Neither changes the critics.
        """
        actor = forward_pass(self._actor_parameters, obs)
        outputs = actor.outputs.requires_grad_()
        with torch.enable_grad():
            noise, log_std, before_tanh = self.actor.draw(outputs, self.generator)
            actions, log_probs = before_tanh.tanh(), squashed_log_prob(noise, log_std, before_tanh)
        alpha = self.log_alpha.exp()
        by_actions = -self._value_gradient(obs, actions.detach()) / len(obs)
        by_log_probs = (alpha / len(obs)).expand_as(log_probs)
        (grad,) = torch.autograd.grad([actions, log_probs], [outputs], [by_actions, by_log_probs])
        set_gradients(self._actor_parameters, actor, grad)
        self.log_alpha.grad = (alpha * (actions.shape[1] - log_probs.detach())).mean()
        self.optimizers["actor"].step()

    def _value_gradient(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return the gradient of min(Q₁, Q₂)(s, a) with respect to a, ``(batch, action_dim)``."""
        inputs = torch.cat([obs, actions], dim=1)
        critic1, critic2 = (forward_pass(parameters, inputs) for parameters in self._critic_parameters)
        first_is_smaller = (critic1.outputs < critic2.outputs).float()
        grad = input_gradient(self._critic_parameters[0], critic1, first_is_smaller)
        grad += input_gradient(self._critic_parameters[1], critic2, 1 - first_is_smaller)
        return grad[:, obs.shape[1] :]

    def extra_state(self) -> dict[str, Any]:
        """Return the temperature and the replay."""
        return {"log_alpha": self.log_alpha.detach(), **super().extra_state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the temperature and the replay."""
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        super().load_extra_state(state)
