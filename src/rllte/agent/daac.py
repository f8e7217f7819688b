"""Decoupled advantage actor-critic: a policy that also predicts advantages, and a separate value function.

Paper: Raileanu and Fergus, 2021, https://arxiv.org/abs/2102.10330. Reference code: rraileanu/idaac. This
agent differs from the reference in four ways:

* ``vf_coef`` weights the value loss. With Adam this affects little but the clipping of gradients.
* The encoder's linear layer is initialised uniformly, not orthogonally.
* A residual block adds to its input, as in IMPALA. In the reference, the activation has rectified that input
  in place.
* It bootstraps a truncated episode from the episode's own last observation.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.evaluation import Envs
from rllte.agent.losses import clipped_policy_loss, clipped_value_loss, log_probs_and_entropy
from rllte.agent.networks import DiscretePolicy, ValueFunction, head, make_encoder
from rllte.agent.onpolicy import OnPolicyAgent, OnPolicyConfig
from rllte.agent.rollout import Batch
from rllte.agent.settings import between, count, positive


@dataclass(frozen=True, kw_only=True)
class DAACConfig(OnPolicyConfig):
    """Settings of DAAC in addition to those of every on-policy agent; ``n_epochs`` applies to the policy.

    Attributes:
        value_epochs: Number of passes of the value function over the samples of an update.
        value_freq: Number of policy updates for each update of the value function.
        adv_coef: Weight of the squared error of predicted advantages in the policy's loss.
        clip_range: Clip range ε of the policy's objective.
        clip_range_vf: Largest change of a value from its old value in the clipped value loss.
    """

    value_epochs: int = count(1, 1000)
    value_freq: int = count()
    adv_coef: float = between(0.0, math.inf)
    clip_range: float = positive()
    clip_range_vf: float = positive()


class AdvantagePolicy(nn.Module):
    """A policy with a second head, which predicts the advantage of an action from the same features."""

    def __init__(self, policy: DiscretePolicy, feature_dim: int, num_actions: int) -> None:
        super().__init__()
        self.policy, self.num_actions = policy, num_actions
        self.advantage = head(feature_dim + num_actions, 0, 1, last_gain=1.0)

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``(batch, num_actions)`` and the actions' advantages ``(batch,)``."""
        features = self.policy.encoder(obs)
        one_hot = F.one_hot(actions, self.num_actions).float()
        advantages = self.advantage(torch.cat([features, one_hot], dim=1)).squeeze(1)
        return self.policy.actor(features), advantages


class DAAC(OnPolicyAgent):
    """An on-policy agent whose policy and value function share no parameters."""

    Config = DAACConfig
    config: DAACConfig

    def build(self) -> None:
        """Make both networks, their optimizers and the rollout's buffers."""
        config, num_actions = self.config, self.num_actions
        encoder, critic_encoder = (
            make_encoder(config.encoder, self.obs_shape, config.feature_dim) for _ in range(2)
        )
        actor = head(config.feature_dim, config.hidden_dim, num_actions, last_gain=0.01)
        self.policy = DiscretePolicy(encoder, actor)
        self.actor = AdvantagePolicy(self.policy, config.feature_dim, num_actions)
        self.critic = ValueFunction(
            critic_encoder, head(config.feature_dim, config.hidden_dim, 1, last_gain=1.0)
        )
        self.modules = {"actor": self.actor, "critic": self.critic}
        self._prepare()

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Collect a rollout and train the policy; train the value function every ``value_freq`` updates."""
        config = self.config
        samples, obs = self.collect(lambda obs: (self.policy(obs), self.critic(obs)), envs, obs)
        self.minimize(self.loss, samples, config.n_epochs, "actor")
        if self.num_updates % config.value_freq == 0:
            self.minimize(self._value_loss, samples, config.value_epochs, "critic")
        return obs

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the policy's loss on a minibatch."""
        return daac_policy_loss(self.actor(batch.obs, batch.actions), batch, self.config)

    def _value_loss(self, batch: Batch) -> torch.Tensor:
        config = self.config
        loss = clipped_value_loss(self.critic(batch.obs), batch.values, batch.returns, config.clip_range_vf)
        return config.vf_coef * loss


def daac_policy_loss(
    output: tuple[torch.Tensor, torch.Tensor], batch: Batch, config: DAACConfig
) -> torch.Tensor:
    """Return the policy's loss: clipped loss + ``adv_coef`` · advantage loss - ``ent_coef`` · entropy.

    The advantage loss is the squared error of the predicted advantages.

    Args:
        output: Logits ``(batch, num_actions)`` and predicted advantages ``(batch,)``.
        batch: The minibatch.
        config: Gives the clip range and the weights.
    """
    logits, predicted = output
    log_probs, entropy = log_probs_and_entropy(logits, batch.actions)
    policy_loss = clipped_policy_loss(log_probs, batch.log_probs, batch.advantages, config.clip_range)
    advantage_loss = F.mse_loss(predicted, batch.advantages)
    return policy_loss + config.adv_coef * advantage_loss - config.ent_coef * entropy
