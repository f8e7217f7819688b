"""Small agents: the recipes of the repository, with budgets of seconds."""

from pathlib import Path

from rllte.names import Cell
from rllte.pipeline.spec import override, read_spec
from rllte.pipeline.train import make_agent as build

ROOT = Path(__file__).parents[2]

SMALL = {
    "ppo": (
        Cell("minigrid", "ppo", "Empty-5x5-v0"),
        {"num_steps": 16, "n_epochs": 2, "checkpoint_steps": 256},
    ),
    "sac": (
        Cell("dmc", "sac", "cartpole_balance"),
        {"learning_starts": 100, "batch_size": 32, "hidden_dim": 16, "checkpoint_steps": 100},
    ),
}
"""A cell for each agent, and settings that make its training a matter of seconds."""


def make_agent(name, seed=0, **settings):
    cell, small = SMALL[name]
    watch = {"num_points": 3, "num_eval_episodes": 2, "num_eval_envs": 2}
    spec = override(read_spec(ROOT, cell), {**watch, **small, **settings})
    return build(spec, seed)
