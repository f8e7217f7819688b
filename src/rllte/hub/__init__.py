"""The loader: learning curves, scores, models and training interfaces of each benchmark.

Example:
    >>> from rllte.hub import MiniGrid
    >>> scores = MiniGrid().load_scores(agent="ppo", env_id="Empty-5x5-v0")
    >>> scores.shape  # (num_seeds, num_episodes)
    (3, 100)
"""

from rllte.hub.benchmark import Atari, DMControl, MiniGrid, Procgen, available

__all__ = ["Atari", "DMControl", "MiniGrid", "Procgen", "available"]
