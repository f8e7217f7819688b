"""Deep deterministic policy gradient with two critics, for continuous actions in [-1, 1].

Paper: Lillicrap et al., 2016, https://arxiv.org/abs/1509.02971. Reference code: the learner of
facebookresearch/drqv2, applied to states instead of images. As in the reference, the target uses the smaller
value of two critics (Fujimoto et al., 2018), and the actor has no target network. This agent differs from the
reference in three ways: its exploration noise is constant, its returns are one-step, and the losses add no
noise to actions, neither in the target nor in the actor's loss.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.networks import TwinCritic, two_layers
from rllte.agent.offpolicy import OffPolicyAgent, OffPolicyConfig, move_target
from rllte.agent.replay import Transitions
from rllte.agent.settings import between


@dataclass(frozen=True, kw_only=True)
class DDPGConfig(OffPolicyConfig):
    """Settings of DDPG in addition to those of every off-policy agent.

    Attributes:
        exploration_noise: Standard deviation of the Gaussian noise that training adds to actions.
    """

    exploration_noise: float = between(0.0, math.inf)


class DeterministicActor(nn.Module):
    """Network from observations to actions."""

    def __init__(self, obs_dim: int, hidden_dim: int, action_dim: int) -> None:
        super().__init__()
        self.layers = two_layers(obs_dim, hidden_dim, action_dim)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return actions ``(batch, action_dim)`` in [-1, 1]."""
        return self.layers(obs).tanh()


class DDPG(OffPolicyAgent):
    """An off-policy agent whose deterministic policy follows the gradient of its critics."""

    Config = DDPGConfig
    config: DDPGConfig

    def build(self) -> None:
        """Make the networks, their optimizers and the replay."""
        (obs_dim,), (action_dim,) = self.observation_space.shape, self.action_space.shape
        hidden_dim = self.config.hidden_dim
        self.actor = self.policy = DeterministicActor(obs_dim, hidden_dim, action_dim).to(self.device)
        self.critic, self.target_critic = (
            TwinCritic(obs_dim, action_dim, hidden_dim).to(self.device) for _ in range(2)
        )
        self.target_critic.requires_grad_(False).load_state_dict(self.critic.state_dict())
        self.modules = {"actor": self.actor, "critic": self.critic, "target_critic": self.target_critic}
        self.optimizers = {
            "actor": self.make_optimizer(self.actor.parameters()),
            "critic": self.make_optimizer(self.critic.parameters()),
        }
        self.replay = self.make_replay()

    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the policy's actions with exploration noise."""
        return noisy(self.actor(obs), self.config.exploration_noise, self.generator)

    def learn(self, env_step: int) -> None:
        """Take one gradient step for the critics and one for the actor, and move the target networks."""
        batch = self.sample()
        with torch.no_grad():
            next_actions = self.actor(batch.next_obs)
        self.optimizers["critic"].zero_grad()
        critic_loss(self.critic, self.target_critic, batch, next_actions).backward()
        self.optimizers["critic"].step()

        self.optimizers["actor"].zero_grad()
        loss = actor_loss(self.actor(batch.obs), batch.obs, self.critic)
        loss.backward(inputs=list(self.actor.parameters()))
        self.optimizers["actor"].step()
        move_target(self.target_critic, self.critic, self.config.tau)


def noisy(
    actions: torch.Tensor, std: float, generator: torch.Generator, clip: float = float("inf")
) -> torch.Tensor:
    """Return actions with Gaussian noise, clipped to [-1, 1]; the clipping does not stop gradients.

    Args:
        actions: ``(batch, action_dim)``.
        std: Standard deviation of the noise.
        generator: Random generator of the noise.
        clip: Largest absolute value of the noise.
    """
    noise = std * torch.randn(actions.shape, generator=generator, device=actions.device)
    moved = actions + noise.clamp(-clip, clip)
    return moved + (moved.clamp(-1.0, 1.0) - moved).detach()


def critic_loss(
    critic: nn.Module, target_critic: nn.Module, batch: Transitions, next_actions: torch.Tensor
) -> torch.Tensor:
    """Return the sum of both critics' mean squared errors from their common target.

    The target is the reward plus the discounted value of the next actions, for which the smaller value of the
    two target critics is taken.

    Args:
        critic: Maps observations and actions to two values, each ``(batch,)``.
        target_critic: The slowly moving copy of ``critic``.
        batch: The transitions.
        next_actions: ``(batch, action_dim)``, the actions at ``batch.next_obs``.
    """
    with torch.no_grad():
        q1, q2 = target_critic(batch.next_obs, next_actions)
        targets = batch.rewards + batch.discounts * torch.min(q1, q2)
    q1, q2 = critic(batch.obs, batch.actions)
    return F.mse_loss(q1, targets) + F.mse_loss(q2, targets)


def actor_loss(actions: torch.Tensor, obs: torch.Tensor, critic: nn.Module) -> torch.Tensor:
    """Return minus the mean over the batch of the smaller of both critics' values."""
    q1, q2 = critic(obs, actions)
    return -torch.min(q1, q2).mean()
