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
    from rllte.hub.comparing import compare
    from rllte.hub.references import load_references

_MODULES = {
    **dict.fromkeys(("Atari", "DMControl", "MiniGrid", "Procgen", "available"), "benchmark"),
    "compare": "comparing",
    "diff": "changes",
    "load_references": "references",
}
__all__ = ["Atari", "DMControl", "MiniGrid", "Procgen", "available", "compare", "diff", "load_references"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that importing the package alone loads nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
