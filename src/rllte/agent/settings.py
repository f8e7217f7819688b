"""Settings that all agents of a benchmark share, and checks of numbers."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from rllte.errors import HubError

_MAY_BE_ZERO = ("hidden_dim", "learning_starts")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of training and of its evaluations, the same for all agents of a benchmark.

    Attributes:
        num_points: Number of points of the learning curve.
        num_eval_episodes: Number of evaluation episodes at each point.
        num_eval_envs: Number of environments that play the evaluation episodes.
        deterministic: Whether evaluation takes the most probable action. Otherwise it samples one.
        checkpoint_steps: Number of env steps between two checkpoints. At each checkpoint every environment
            starts anew.
        num_threads: Number of PyTorch's CPU threads. It affects the last bits of sums.
    """

    num_points: int
    num_eval_episodes: int
    num_eval_envs: int
    deterministic: bool
    checkpoint_steps: int
    num_threads: int


def check_counts(*settings: Any) -> None:
    """Check that every whole-number setting is at least 1, or at least 0 if it may be zero.

    Raises:
        HubError: A setting is too small.
    """
    for one in settings:
        for field in dataclasses.fields(one):
            value, least = getattr(one, field.name), 0 if field.name in _MAY_BE_ZERO else 1
            if field.type is int and value < least:
                raise HubError(f"{field.name} is {value}; write {least} or more.")


def whole_number(name: str, number: float) -> int:
    """Return a positive whole number, which may be given as a float such as 2.5e7.

    Raises:
        HubError: The number is not positive or not whole.
    """
    if number < 1 or number != int(number):
        raise HubError(f"{name} is {number}; write a whole number of 1 or more.")
    return int(number)
