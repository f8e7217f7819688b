"""Advantage actor-critic for discrete actions, the synchronous form of A3C.

Paper: Mnih et al., 2016, https://arxiv.org/abs/1602.01783. Reference code:
ikostrikov/pytorch-a2c-ppo-acktr-gail and, on MiniGrid, lcswillems/rl-starter-files. This agent differs from
them in four ways:

* It uses Adam instead of RMSprop, as in the original hub's settings.
* It uses generalized advantages with λ = 0.95 also on Atari. There ikostrikov's code takes n-step returns
  (λ = 1).
* It bootstraps a truncated episode from the episode's own last observation.
* The third convolution on Atari has 64 channels, as in Mnih et al. (2015), not 32.
"""

import torch
from torch.nn import functional as F

from rllte.agent.losses import log_probs_and_entropy
from rllte.agent.onpolicy import OnPolicyAgent, OnPolicyConfig
from rllte.agent.rollout import Batch


class A2C(OnPolicyAgent):
    """An on-policy agent that follows the plain policy gradient."""

    Config = OnPolicyConfig

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a minibatch."""
        return a2c_loss(self.network(batch.obs), batch, self.config)


def a2c_loss(output: tuple[torch.Tensor, torch.Tensor], batch: Batch, config: OnPolicyConfig) -> torch.Tensor:
    """Return the A2C loss: policy loss + ``vf_coef`` · squared value error - ``ent_coef`` · entropy.

    Args:
        output: Logits ``(batch, num_actions)`` and values ``(batch,)`` of the current network.
        batch: The minibatch.
        config: Gives the two weights.
    """
    logits, values = output
    log_probs, entropy = log_probs_and_entropy(logits, batch.actions)
    policy_loss = -(log_probs * batch.advantages).mean()
    return policy_loss + config.vf_coef * F.mse_loss(values, batch.returns) - config.ent_coef * entropy
