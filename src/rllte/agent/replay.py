"""Replay of transitions for off-policy agents."""

from typing import NamedTuple

import torch

from rllte.errors import HubError


class Transitions(NamedTuple):
    """Transitions, one per row; a discount is 0 where the episode terminated and γ elsewhere.

    obs and next_obs are ``(batch, obs_dim)``, actions ``(batch, action_dim)``, rewards and discounts
    ``(batch,)``.
    """

    obs: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor
    next_obs: torch.Tensor


class Replay:
    """A ring of transitions, each one row of a float32 table, so that a sample is one gather.

    Args:
        capacity: Transitions kept; the oldest make room. Memory is touched as rows are filled.
        obs_dim: Length of an observation.
        action_dim: Length of an action.
        device: Where the table lives.
    """

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, device: torch.device) -> None:
        if capacity < 1:
            raise HubError(f"buffer_size is {capacity}; write 1 or more.")
        self._widths = [obs_dim, action_dim, 1, 1, obs_dim]
        self._table = torch.empty((capacity, sum(self._widths)), device=device)
        self._next, self.size = 0, 0

    def add(self, transitions: Transitions) -> None:
        """Add a batch of transitions."""
        obs, actions, rewards, discounts, next_obs = transitions
        rows = torch.cat([obs, actions, rewards[:, None], discounts[:, None], next_obs], dim=1)
        capacity = len(self._table)
        for row in rows:
            self._table[self._next] = row
            self._next = (self._next + 1) % capacity
            self.size = min(self.size + 1, capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Draw transitions uniformly, with replacement."""
        index = torch.randint(self.size, (batch_size,), generator=generator, device=self._table.device)
        obs, actions, rewards, discounts, next_obs = self._table[index].split(self._widths, dim=1)
        return Transitions(obs, actions, rewards.squeeze(1), discounts.squeeze(1), next_obs)

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """Return the rows in use and the place of the next one."""
        return {"rows": self._table[: self.size].cpu().clone(), "next": self._next}

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Take back what ``state_dict`` gave."""
        rows, self._next = state["rows"], int(state["next"])
        assert isinstance(rows, torch.Tensor)
        self._table[: len(rows)] = rows.to(self._table.device)
        self.size = len(rows)
