"""Settings that all agents of a benchmark share, and checks of numbers."""

import dataclasses
import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllte.errors import HubError

MAX_COUNT = 2**31 - 1
"""No setting counts more."""


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have, from ``low`` to ``high``; ``low`` itself only if not ``above``."""

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        first = f"above {self.low:g}" if self.above else f"from {self.low:,g}"
        if math.isinf(self.high):
            return f"a finite number {first}" if self.above else f"a finite number of {self.low:g} or more"
        high = f"{self.high:,}" if isinstance(self.high, int) else f"{self.high:g}"
        return f"a number {first}{', at most' if self.above else ' to'} {high}"


def between(low: float, high: float, *, above: bool = False) -> Any:
    """Return a dataclass field without a default whose number must lie between two ends.

    Args:
        low: The lower end.
        high: The upper end.
        above: Whether ``low`` itself is too low.
    """
    return dataclasses.field(metadata={"range": Range(low, high, above)})


def count(least: int = 1, most: int = MAX_COUNT) -> Any:
    """Return a dataclass field without a default that counts something."""
    return between(least, most)


def positive(most: float = math.inf) -> Any:
    """Return a dataclass field without a default whose number must be above 0."""
    return between(0, most, above=True)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of training and of its evaluations, the same for all agents of a benchmark.

    Attributes:
        num_points: Number of points of the learning curve of a whole training. One with a smaller budget has
            proportionally fewer.
        num_eval_episodes: Number of evaluation episodes at each point.
        num_eval_envs: Number of environments that play the evaluation episodes.
        deterministic: Whether evaluation takes the most probable action. Otherwise it samples one.
        checkpoint_steps: Number of env steps between two checkpoints. At each checkpoint every environment
            starts anew.
        num_threads: Number of PyTorch's CPU threads. It affects the last bits of sums.
    """

    num_points: int = count()
    num_eval_episodes: int = count()
    num_eval_envs: int = count(1, 10_000)
    deterministic: bool
    checkpoint_steps: int = count()
    num_threads: int = count(1, 1024)


def check_ranges(*settings: Any) -> None:
    """Raise unless every number of some settings lies in the range that its dataclass states.

    Raises:
        HubError: A number is out of its range, infinite or NaN.
    """
    for one in settings:
        for field in dataclasses.fields(one):
            value, allowed = getattr(one, field.name), field.metadata.get("range")
            if allowed is not None and not (math.isfinite(value) and value in allowed):
                raise HubError(f"{field.name} is {value}; write {allowed}.")


_LARGEST = 10**15


def whole_number(name: str, number: float) -> int:
    """Return a positive whole number, which may be given as a float such as 2.5e7.

    Raises:
        HubError: The number is not positive, not whole or larger than 1e15.
    """
    is_number = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
    if not is_number or not 1 <= number <= _LARGEST or number != int(number):
        raise HubError(
            f"{name} is {reprlib.repr(number)}; write a whole number of 1 or more, at most {_LARGEST:.0e}."
        )
    return int(number)
