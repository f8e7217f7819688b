"""Proximal policy optimization for discrete actions.

Paper: Schulman et al., 2017, https://arxiv.org/abs/1707.06347. Reference code:
ikostrikov/pytorch-a2c-ppo-acktr-gail. This agent differs from the reference in three ways:

* It bootstraps a truncated episode from the episode's own last observation (Pardo et al., 2018). The
  reference treats a truncated episode as terminated or, on request, leaves out its last step.
* ``normalize_advantage`` chooses the samples over which advantages are normalised. The reference always
  normalises over the rollout.
* The third convolution on Atari has 64 channels, as in Mnih et al. (2015), not 32.
"""

from dataclasses import dataclass

import torch

from rllte.agent.losses import clipped_policy_loss, clipped_value_loss, log_probs_and_entropy
from rllte.agent.onpolicy import OnPolicyAgent, OnPolicyConfig
from rllte.agent.rollout import Batch
from rllte.agent.settings import positive


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Settings of PPO in addition to those of every on-policy agent.

    Attributes:
        clip_range: Clip range ε of the policy's objective.
        clip_range_vf: Largest change of a value from its old value in the clipped value loss.
    """

    clip_range: float = positive()
    clip_range_vf: float = positive()


class PPO(OnPolicyAgent):
    """An on-policy agent that maximises the clipped surrogate objective."""

    Config = PPOConfig
    config: PPOConfig

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a minibatch."""
        return ppo_loss(self.network(batch.obs), batch, self.config)


def ppo_loss(output: tuple[torch.Tensor, torch.Tensor], batch: Batch, config: PPOConfig) -> torch.Tensor:
    """Return the PPO loss: clipped policy loss + ``vf_coef`` · clipped value loss - ``ent_coef`` · entropy.

    Args:
        output: Logits ``(batch, num_actions)`` and values ``(batch,)`` of the current network.
        batch: The minibatch, with log-probabilities and values from the network that acted.
        config: Gives the clip ranges and the weights.
    """
    logits, values = output
    log_probs, entropy = log_probs_and_entropy(logits, batch.actions)
    policy_loss = clipped_policy_loss(log_probs, batch.log_probs, batch.advantages, config.clip_range)
    value_loss = clipped_value_loss(values, batch.values, batch.returns, config.clip_range_vf)
    return policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
