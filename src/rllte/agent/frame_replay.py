"""Replay of stacked images that stores every frame once."""

import torch

from rllte.agent.replay import Transitions
from rllte.errors import HubError

_COLOURS = 3


class FrameReplay:
    """A ring buffer of the steps of one environment, which stores the newest frame of each observation.

    Sampling puts the stacks together again. An episode of T steps takes T + 1 slots: the last slot holds the
    frame after the last step, and no transition starts there. A step with images of 84 × 84 takes 21 KB.

    Args:
        capacity: Number of slots. New steps overwrite the oldest.
        obs_shape: Shape of an observation, ``(3 * frame_stack, height, width)``.
        action_dim: Length of an action.
        n_steps: Number of rewards that a transition sums; fewer at the end of an episode.
        device: Device of the buffer.
    """

    def __init__(
        self, capacity: int, obs_shape: tuple[int, ...], action_dim: int, n_steps: int, device: torch.device
    ) -> None:
        self._stack, self._n_steps = obs_shape[0] // _COLOURS, n_steps
        self._slots = {
            "frames": torch.empty((capacity, _COLOURS, *obs_shape[1:]), dtype=torch.uint8, device=device),
            "actions": torch.zeros((capacity, action_dim), device=device),
            "rewards": torch.zeros(capacity, device=device),
            "discounts": torch.zeros(capacity, device=device),
            "age": torch.zeros(capacity, dtype=torch.int64, device=device),  # steps since the episode's start
            "is_end": torch.zeros(capacity, dtype=torch.bool, device=device),
        }
        self._capacity, self._device = capacity, device
        self._next, self.size, self._age = 0, 0, 0

    def add(self, step: Transitions, ended: torch.Tensor) -> None:
        """Add one step of the environment."""
        self._put(step.obs, step.actions[0], step.rewards[0], step.discounts[0], is_end=False)
        if ended:
            zero = torch.zeros((), device=self._device)
            self._put(step.next_obs, torch.zeros_like(step.actions[0]), zero, zero, is_end=True)
            self._age = 0

    def begin(self) -> None:
        """Begin a new episode. If the frame after the last step is unknown, that step becomes an end."""
        if self._age > 0:
            self._slots["is_end"][self._next - 1] = True
            self._age = 0

    def _put(
        self,
        obs: torch.Tensor,
        action: torch.Tensor,
        reward: torch.Tensor,
        discount: torch.Tensor,
        is_end: bool,
    ) -> None:
        i, slots = self._next, self._slots
        slots["frames"][i] = obs[0, -_COLOURS:]
        slots["actions"][i], slots["rewards"][i], slots["discounts"][i] = action, reward, discount
        slots["age"][i], slots["is_end"][i] = self._age, is_end
        self._next, self._age = (i + 1) % self._capacity, self._age + 1
        self.size = min(self.size + 1, self._capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Transitions:
        """Sample transitions uniformly, with replacement, from those whose frames are all in the buffer.

        Returns:
            obs and next_obs are ``(batch, 3 * frame_stack, height, width)`` uint8. A reward is the sum of
            ``n_steps`` discounted rewards. A discount is the factor for the value of next_obs.

        Raises:
            HubError: There is no such transition.
        """
        start = torch.empty(0, dtype=torch.int64, device=self._device)
        while len(start) < batch_size:
            drawn = torch.randint(self.size, (batch_size,), generator=generator, device=self._device)
            whole = drawn[self._is_whole(drawn)]
            if not len(whole):
                self._check_any()
            start = torch.cat([start, whole])
        return self._transitions(start[:batch_size])

    def _check_any(self) -> None:
        if not self._is_whole(torch.arange(self.size, device=self._device)).any():
            raise HubError(
                f"The replay has {self.size} steps, but none with all frames before and after it "
                f"(n_steps is {self._n_steps}). Raise learning_starts or buffer_size."
            )

    def _is_whole(self, start: torch.Tensor) -> torch.Tensor:
        """Return which slots begin a transition.

        Such a slot is not an end, the older frames of its stack are not overwritten, and the later steps are
        already there.
        """
        slots = self._slots
        oldest = self._next if self.size == self._capacity else 0
        position = (start - oldest) % self._capacity
        whole = ~slots["is_end"][start] & (position >= slots["age"][start].clamp(max=self._stack - 1))
        place, ended = position, torch.zeros_like(whole)
        for _ in range(self._n_steps):
            place = place + (~ended).long()
            ended = ended | ((place < self.size) & slots["is_end"][(oldest + place) % self._capacity])
        return whole & (place < self.size)

    def _transitions(self, start: torch.Tensor) -> Transitions:
        slots = self._slots
        rewards, discounts = torch.zeros(len(start)), torch.ones(len(start))
        rewards, discounts = rewards.to(self._device), discounts.to(self._device)
        place = start
        for _ in range(self._n_steps):
            goes_on = ~slots["is_end"][place]
            rewards = rewards + discounts * slots["rewards"][place] * goes_on
            discounts = torch.where(goes_on, discounts * slots["discounts"][place], discounts)
            place = torch.where(goes_on, (place + 1) % self._capacity, place)
        return Transitions(
            self._stacked(start), slots["actions"][start], rewards, discounts, self._stacked(place)
        )

    def _stacked(self, place: torch.Tensor) -> torch.Tensor:
        back = torch.arange(self._stack - 1, -1, -1, device=self._device)  # oldest first
        back = back.minimum(self._slots["age"][place][:, None])  # an episode's first frame is repeated
        return self._slots["frames"][(place[:, None] - back) % self._capacity].flatten(1, 2)

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """Return the slots in use, the index of the next slot, and the running episode's number of steps."""
        slots = {name: part[: self.size].cpu().clone() for name, part in self._slots.items()}
        return {**slots, "next": self._next, "episode_age": self._age}

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, part in self._slots.items():
            saved = state[name]
            assert isinstance(saved, torch.Tensor)
            part[: len(saved)] = saved.to(self._device)
            self.size = len(saved)
        self._next, self._age = int(state["next"]), int(state["episode_age"])
