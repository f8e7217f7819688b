"""Losses of discrete policies and of value functions, as functions of tensors."""

import torch
from torch.nn import functional as F


def log_probs_and_entropy(logits: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the actions' log-probabilities ``(batch,)`` and the mean entropy.

    Args:
        logits: ``(batch, num_actions)``.
        actions: ``(batch,)`` int64.
    """
    all_log_probs = F.log_softmax(logits, dim=1)
    log_probs = all_log_probs.gather(1, actions[:, None]).squeeze(1)
    return log_probs, -(all_log_probs.exp() * all_log_probs).sum(dim=1).mean()


def clipped_policy_loss(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Return minus the clipped surrogate objective (Schulman et al., 2017, equation 7).

    Args:
        log_probs: ``(batch,)``, from the current policy.
        old_log_probs: ``(batch,)``, from the policy that acted.
        advantages: ``(batch,)``.
        clip_range: Clip range ε.
    """
    ratio = (log_probs - old_log_probs).exp()
    clipped_ratio = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.min(ratio * advantages, clipped_ratio * advantages).mean()


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Return PPO's clipped value loss.

    It is half the mean of the larger of two squared errors: that of the values, and that of the values
    clipped to ``old_values`` ± ``clip_range``.

    Args:
        values: ``(batch,)``, from the current network.
        old_values: ``(batch,)``, from the network that acted.
        returns: ``(batch,)``, the targets of the values.
        clip_range: Largest change of a clipped value from its old value.
    """
    clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return 0.5 * torch.max((values - returns).square(), (clipped_values - returns).square()).mean()
