"""Running mean and variance, and the scaling of rewards with them."""

import torch

_GAMMA, _CLIP, _EPS = 0.99, 10.0, 1e-8


class Moments:
    """Mean and variance of all numbers seen so far, in float64 (Chan et al., 1983).

    They start as if one number of weight 1e-4 had been seen, with mean 0 and variance 1, as in OpenAI
    Baselines.
    """

    def __init__(self) -> None:
        self.mean, self.var, self.count = 0.0, 1.0, 1e-4

    def update(self, values: torch.Tensor) -> None:
        """Update mean and variance with a batch of numbers of any shape."""
        values = values.double()
        count, mean, var = values.numel(), values.mean().item(), values.var(correction=0).item()
        total, delta = self.count + count, mean - self.mean
        squares = self.var * self.count + var * count + delta**2 * self.count * count / total
        self.mean, self.var, self.count = self.mean + delta * count / total, squares / total, total


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
