"""Vectors of environments on envpool, one file for each simulator.

``ENVS`` maps a benchmark to the function that makes its environments, which is imported at its first use.
"""

from typing import TYPE_CHECKING, Any

from rllte.extras import load

if TYPE_CHECKING:
    from rllte.env.atari import make_envpool_atari_env
    from rllte.env.dmc import make_envpool_dmc_env
    from rllte.env.dmc import make_envpool_dmc_env as make_dmc_env
    from rllte.env.minigrid import make_envpool_minigrid_env
    from rllte.env.procgen import make_envpool_procgen_env

ENVS = {
    "atari": "rllte.env.atari:make_envpool_atari_env",
    "minigrid": "rllte.env.minigrid:make_envpool_minigrid_env",
    "dmc": "rllte.env.dmc:make_envpool_dmc_env",
    "procgen": "rllte.env.procgen:make_envpool_procgen_env",
}

_EXPORTS = {target.split(":")[1]: target for target in ENVS.values()}
_EXPORTS["make_dmc_env"] = ENVS["dmc"]

__all__ = [
    "ENVS",
    "make_dmc_env",
    "make_envpool_atari_env",
    "make_envpool_dmc_env",
    "make_envpool_minigrid_env",
    "make_envpool_procgen_env",
]


def __getattr__(name: str) -> Any:
    """Import a ``make_`` function at its first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'rllte.env' has no attribute {name!r}")
    return load(_EXPORTS[name], "Environments need")
