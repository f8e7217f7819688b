"""Advantages and value targets, as functions of arrays."""

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

    After a terminated step there is no value. After a truncated step there is: ``next_values`` has the value
    of the episode's own last observation. After either of them, the sum over later steps stops.

    Args:
        rewards: ``(num_steps, num_envs)``.
        values: ``(num_steps, num_envs)``, of the observations before the steps.
        next_values: ``(num_steps, num_envs)``, of the observations after the steps, before any reset.
        terminated: ``(num_steps, num_envs)``, whether the episode terminated.
        ended: ``(num_steps, num_envs)``, whether the episode terminated or was truncated.
        gamma: Discount factor γ.
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
        values: ``(num_steps, num_envs)``, of the observations before the steps.
        last_values: ``(num_envs,)``, of the observations after the last step.

    Returns:
        The targets v of the values, and the advantages ρ (r + γ v' - V), each ``(num_steps, num_envs)``.
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
