"""Advantages and returns, as functions of arrays."""

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def generalized_advantages(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    terminated: Bools,
    ended: Bools,
    gamma: float,
    gae_lambda: float,
) -> Floats:
    """Return generalized advantage estimates (Schulman et al., 2016, equation 16).

    A terminated step has no future. A truncated one has: ``next_values`` holds the value of the
    episode's own last observation there, and the sum over later steps stops as it does at any end.

    Args:
        rewards: ``(num_steps, num_envs)``.
        values: ``(num_steps, num_envs)``, of the observations acted on.
        next_values: ``(num_steps, num_envs)``, of the observations that the steps led to, before
            any reset.
        terminated: ``(num_steps, num_envs)``.
        ended: ``(num_steps, num_envs)``, terminated or truncated.
        gamma: Discount.
        gae_lambda: λ.

    Returns:
        ``(num_steps, num_envs)`` float32.
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    decay = (gamma * gae_lambda * ~ended).astype(np.float32)
    advantages = np.empty_like(deltas)
    following = np.zeros_like(deltas[0])
    for t in range(len(deltas) - 1, -1, -1):
        following = deltas[t] + decay[t] * following
        advantages[t] = following
    return advantages


def vtrace(
    log_rhos: torch.Tensor,
    discounts: torch.Tensor,
    rewards: torch.Tensor,
    values: torch.Tensor,
    last_values: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return V-trace targets and advantages (Espeholt et al., 2018, section 4.1, with ρ̄ = c̄ = 1).

    Args:
        log_rhos: ``(num_steps, num_envs)``, log of π(a|x) / μ(a|x).
        discounts: ``(num_steps, num_envs)``, 0 where an episode ended.
        rewards: ``(num_steps, num_envs)``.
        values: ``(num_steps, num_envs)``, of the observations acted on.
        last_values: ``(num_envs,)``, of the observations after the last step.

    Returns:
        What values should be, v, and ρ (r + γ v' - V), each ``(num_steps, num_envs)``.
    """
    rhos = log_rhos.exp().clamp(max=1.0)
    next_values = torch.cat([values[1:], last_values[None]])
    deltas = rhos * (rewards + discounts * next_values - values)
    corrections = torch.empty_like(deltas)
    following = torch.zeros_like(last_values)
    for t in range(len(deltas) - 1, -1, -1):
        following = deltas[t] + discounts[t] * rhos[t] * following
        corrections[t] = following
    targets = values + corrections
    next_targets = torch.cat([targets[1:], last_values[None]])
    return targets, rhos * (rewards + discounts * next_targets - values)
