"""Proximal policy optimization for discrete actions.

Paper: Schulman et al., 2017, https://arxiv.org/abs/1707.06347. Reference code:
ikostrikov/pytorch-a2c-ppo-acktr-gail. It differs from the reference in three things: an episode that was
truncated is bootstrapped from its own last observation (Pardo et al., 2018), where the reference takes it for
ended, or on request leaves its last step out; over what advantages are normalised, always the rollout there,
is a setting; and the third convolution on Atari has 64 channels, as Mnih et al. (2015) have it, not 32.
"""

from dataclasses import dataclass

import torch

from rllte.agent.losses import clipped_policy_loss, clipped_value_loss, log_probs_and_entropy
from rllte.agent.onpolicy import OnPolicyAgent, OnPolicyConfig
from rllte.agent.rollout import Batch


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Settings of PPO in addition to those of every on-policy agent.

    Attributes:
        clip_range: ε of the clipped objective.
        clip_range_vf: How far a value may move from its old one in the value loss.
    """

    clip_range: float
    clip_range_vf: float


class PPO(OnPolicyAgent):
    """An on-policy agent that maximises the clipped surrogate objective."""

    Config = PPOConfig
    config: PPOConfig

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a minibatch."""
        return ppo_loss(self.network(batch.obs), batch, self.config)


def ppo_loss(output: tuple[torch.Tensor, torch.Tensor], batch: Batch, config: PPOConfig) -> torch.Tensor:
    """Return the clipped policy loss plus the clipped value loss minus the entropy, weighted.

    Args:
        output: Logits ``(batch, num_actions)`` and values ``(batch,)`` of the present network.
        batch: The samples, with what the old network said of them.
        config: Clip ranges and weights.
    """
    logits, values = output
    log_probs, entropy = log_probs_and_entropy(logits, batch.actions)
    policy_loss = clipped_policy_loss(log_probs, batch.log_probs, batch.advantages, config.clip_range)
    value_loss = clipped_value_loss(values, batch.values, batch.returns, config.clip_range_vf)
    return policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
