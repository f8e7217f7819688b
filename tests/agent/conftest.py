"""Small agents: the recipes of the repository, with budgets of seconds."""

import dataclasses
from pathlib import Path

from rllte.names import Cell
from rllte.recipes.build import make_agent as build
from rllte.recipes.project import Project
from rllte.recipes.spec import override

ROOT = Path(__file__).parents[2]

# a discount and an entropy bonus that a few updates show: a change of either moves the fingerprints
TELLING = {"gamma": 0.8, "ent_coef": 0.3}
PROCGEN = {
    **TELLING,
    "num_envs": 4,
    "num_steps": 16,
    "batch_size": 32,
    "feature_dim": 16,
    "checkpoint_steps": 64,
}
FEW_GAMES = {"num_eval_envs": 1, "num_eval_episodes": 1}  # where making environments or playing is slow
SMALL = {
    "a2c": (
        Cell("minigrid", "a2c", "Empty-5x5-v0"),
        {**TELLING, "num_envs": 4, "batch_size": 32, "checkpoint_steps": 256},
    ),
    "daac": (Cell("procgen", "daac", "starpilot"), {**PROCGEN, "value_epochs": 2, "value_freq": 2}),
    "ddpg": (
        Cell("dmc", "ddpg", "cartpole_balance"),
        {"learning_starts": 100, "batch_size": 32, "hidden_dim": 16, "checkpoint_steps": 100},
    ),
    "rndddpg": (
        Cell("dmc", "rndddpg", "cartpole_balance"),
        {
            "learning_starts": 100,
            "batch_size": 32,
            "hidden_dim": 16,
            "predictor_dim": 16,
            "checkpoint_steps": 100,
        },
    ),
    "drqv2": (
        Cell("dmc", "drqv2", "cartpole_balance"),
        {
            "learning_starts": 20,
            "batch_size": 8,
            "buffer_size": 500,
            "width": 4,
            "hidden_dim": 16,
            "checkpoint_steps": 20,
            **FEW_GAMES,
        },
    ),
    "impala": (
        Cell("atari", "impala", "Breakout-v5"),
        {
            **TELLING,
            "num_envs": 4,
            "num_steps": 8,
            "batch_size": 2,
            "feature_dim": 16,
            "checkpoint_steps": 32,
            **FEW_GAMES,
        },
    ),
    "ppg": (
        Cell("procgen", "ppg", "starpilot"),
        {**PROCGEN, "policy_updates": 3, "aux_epochs": 1, "aux_batch_size": 64},
    ),
    "ppo": (
        Cell("minigrid", "ppo", "Empty-5x5-v0"),
        {**TELLING, "num_steps": 16, "n_epochs": 2, "checkpoint_steps": 256},
    ),
    "rndppo": (
        Cell("minigrid", "rndppo", "Empty-5x5-v0"),
        {
            **TELLING,
            "num_envs": 8,
            "num_steps": 16,
            "batch_size": 64,
            "n_epochs": 2,
            "predictor_dim": 16,
            "checkpoint_steps": 256,
        },
    ),
    "sac": (
        Cell("dmc", "sac", "cartpole_balance"),
        {"learning_starts": 100, "batch_size": 32, "hidden_dim": 16, "checkpoint_steps": 100},
    ),
}
"""A cell for each agent, and settings that make its training a matter of seconds."""

STEPS = {
    "a2c": 1024,
    "daac": 256,
    "ddpg": 400,
    "rndddpg": 400,
    "drqv2": 60,
    "impala": 128,
    "ppg": 256,
    "ppo": 1024,
    "rndppo": 1024,
    "sac": 400,
}


def make_agent(name, seed=0, **settings):
    cell, small = SMALL[name]
    watch = {"num_points": 2, "num_eval_episodes": 2, "num_eval_envs": 2}
    spec = override(Project(ROOT).spec(cell, "published"), {**watch, **small, **settings})
    spec = dataclasses.replace(spec, num_train_steps=STEPS[name])
    if name == "drqv2":  # frames are slow to draw: episodes of 20 steps
        spec = dataclasses.replace(
            spec, env={key: {"from_pixels": True, "action_repeat": 50} for key in spec.env}
        )
    return build(spec, seed)
