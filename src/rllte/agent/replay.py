"""Replay buffers of transitions for off-policy agents."""

from typing import NamedTuple, Protocol

import torch

from rllte.errors import HubError


class Transitions(NamedTuple):
    """Transitions, one per row. A discount is 0 where the episode terminated, and γ elsewhere.

    obs and next_obs are ``(batch, obs_dim)``, actions ``(batch, action_dim)``, rewards and discounts
    ``(batch,)``.
    """

    obs: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor
    next_obs: torch.Tensor


class Replay(Protocol):
    """A buffer that stores an off-policy agent's experience."""

    size: int

    def begin(self) -> None:
        """Begin new episodes, because the environments start anew."""

    def add(self, transitions: Transitions, ended: torch.Tensor) -> None:
        """Add one transition of each environment.

        Args:
            transitions: ``(num_envs, …)``.
            ended: ``(num_envs,)`` bool, whether an episode ended with that transition.
        """

    def sample(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Sample transitions uniformly, with replacement."""

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """Return the content as tensors and numbers."""

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Restore the content that ``state_dict`` returned."""


class StateReplay:
    """A ring buffer of transitions. Each one is a row of a float32 table, so that a sample is one gather.

    Args:
        capacity: Number of transitions. New ones overwrite the oldest. Memory is only used up as rows are
            filled.
        obs_dim: Length of an observation.
        action_dim: Length of an action.
        device: Device of the table.
    """

    def __init__(self, capacity: int, obs_dim: int, action_dim: int, device: torch.device) -> None:
        if capacity < 1:
            raise HubError(f"buffer_size is {capacity}; write 1 or more.")
        self._widths = [obs_dim, action_dim, 1, 1, obs_dim]
        self._table = torch.empty((capacity, sum(self._widths)), device=device)
        self._next, self.size = 0, 0

    def begin(self) -> None:
        """Do nothing: each transition contains its next observation."""

    def add(self, transitions: Transitions, ended: torch.Tensor) -> None:
        """Add one transition of each environment."""
        obs, actions, rewards, discounts, next_obs = transitions
        rows = torch.cat([obs, actions, rewards[:, None], discounts[:, None], next_obs], dim=1)
        capacity = len(self._table)
        for row in rows:
            self._table[self._next] = row
            self._next = (self._next + 1) % capacity
            self.size = min(self.size + 1, capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Sample transitions uniformly, with replacement."""
        index = torch.randint(self.size, (batch_size,), generator=generator, device=self._table.device)
        obs, actions, rewards, discounts, next_obs = self._table[index].split(self._widths, dim=1)
        return Transitions(obs, actions, rewards.squeeze(1), discounts.squeeze(1), next_obs)

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """Return the rows in use and the index of the next row."""
        return {"rows": self._table[: self.size].cpu().clone(), "next": self._next}

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Restore what ``state_dict`` returned."""
        rows, self._next = state["rows"], int(state["next"])
        assert isinstance(rows, torch.Tensor)
        self._table[: len(rows)] = rows.to(self._table.device)
        self.size = len(rows)
