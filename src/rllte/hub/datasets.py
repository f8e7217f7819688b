"""Demonstrations: ``Atari().load_demonstrations(env_id="BeamRider-v5", level="random")``.

The classes are those of ``rllte.hub``, so they load curves, scores and models, too.
"""

from rllte.hub.benchmark import Atari, DMControl, MiniGrid, Procgen
from rllte.hub.demonstrations import Demonstrations, read_demonstrations

__all__ = ["Atari", "DMControl", "Demonstrations", "MiniGrid", "Procgen", "read_demonstrations"]
