"""Running mean and variance, and the scaling of rewards with them."""

from typing import TypeVar

import torch

Number = TypeVar("Number", float, torch.Tensor)

_GAMMA, _CLIP, _EPS = 0.99, 10.0, 1e-8


def merge_moments(
    seen: tuple[Number, Number, Number], new: tuple[Number, Number, int]
) -> tuple[Number, Number, Number]:
    """Return mean, variance and count of two groups of numbers together (Chan et al., 1983).

    Args:
        seen: Mean, variance and count of the first group. The first two may be arrays.
        new: Mean, variance and count of the second group.
    """
    (seen_mean, seen_var, seen_count), (mean, var, count) = seen, new
    total, delta = seen_count + count, mean - seen_mean
    squares = seen_var * seen_count + var * count + delta**2 * seen_count * count / total
    return seen_mean + delta * count / total, squares / total, total


class Moments:
    """Mean and variance of all numbers seen so far, in float64.

    They start as if one number of weight 1e-4 had been seen, with mean 0 and variance 1, as in OpenAI
    Baselines.
    """

    def __init__(self) -> None:
        self.mean, self.var, self.count = 0.0, 1.0, 1e-4

    def update(self, values: torch.Tensor) -> None:
        """Update mean and variance with a batch of numbers of any shape."""
        values = values.double()
        new = values.mean().item(), values.var(correction=0).item(), values.numel()
        self.mean, self.var, self.count = merge_moments((self.mean, self.var, self.count), new)


class RewardScaler:
    """Divides rewards by the running standard deviation of their discounted sums, then clips to [-10, 10].

    It does the same as ``VecNormalize`` of OpenAI Baselines, which train-procgen uses. γ is 0.99, whatever
    the agent's discount factor is. The scale of a step already includes the sums of that step.

    Args:
        num_envs: Number of parallel environments.
    """

    def __init__(self, num_envs: int) -> None:
        self.moments = Moments()
        self._sums = torch.zeros(num_envs, dtype=torch.float64)

    def begin(self) -> None:
        """Reset the sums of every environment."""
        self._sums.zero_()

    def scale_(self, rewards: torch.Tensor, ended: torch.Tensor) -> None:
        """Scale the rewards of a rollout in place.

        Args:
            rewards: ``(num_steps, num_envs)``.
            ended: ``(num_steps, num_envs)`` bool, whether an episode ended with that step.
        """
        plain, over = rewards.cpu().double(), ended.cpu()
        scaled = torch.empty_like(plain)
        for t in range(len(plain)):
            self._sums = self._sums * _GAMMA + plain[t]
            self.moments.update(self._sums)
            scaled[t] = (plain[t] / (self.moments.var + _EPS) ** 0.5).clamp(-_CLIP, _CLIP)
            self._sums[over[t]] = 0.0
        rewards.copy_(scaled)

    def state_dict(self) -> dict[str, float | torch.Tensor]:
        """Return the mean, the variance, their weight, and the sums."""
        return {**vars(self.moments), "sums": self._sums.clone()}

    def load_state_dict(self, state: dict[str, float | torch.Tensor]) -> None:
        """Restore what ``state_dict`` returned."""
        self.moments.mean, self.moments.var, self.moments.count = (
            float(state[name]) for name in ("mean", "var", "count")
        )
        sums = state["sums"]
        assert isinstance(sums, torch.Tensor)
        self._sums = sums.clone()
