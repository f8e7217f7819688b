"""The loader: learning curves, scores, models and training interfaces of each benchmark.

Example:
    >>> from rllte.hub import MiniGrid
    >>> scores = MiniGrid().load_scores(agent="ppo", env_id="Empty-5x5-v0")
    >>> scores.shape  # (num_seeds, num_episodes)
    (5, 100)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rllte.hub.benchmark import Atari, DMControl, MiniGrid, Procgen, available
    from rllte.hub.changes import diff

__all__ = ["Atari", "DMControl", "MiniGrid", "Procgen", "available", "diff"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that importing the package alone loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rllte.hub import benchmark, changes

    return getattr(changes if name == "diff" else benchmark, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
