"""Evaluate a run: play whole episodes with its policy, and write their scores."""

from pathlib import Path

import pyarrow as pa
import torch

from rllte import tables
from rllte.agent.evaluation import Act, Episodes, acting, play_episodes
from rllte.files import write_bytes
from rllte.names import Run
from rllte.recipes.build import make_envs
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec
from rllte.seeding import env_seeds
from rllte.stages.train import load_policy
from rllte.torch_setup import torch_threads


def evaluate(root: Path, run: Run) -> str:
    """Play the evaluation episodes of a run and write its scores; return one line that sums them up."""
    spec = Project(root).spec(run.cell)
    policy, num_episodes = load_policy(root, run, spec).policy, spec.evaluation.num_episodes
    parts, means = [], []
    for split in spec.splits:
        episodes = play(spec, policy, run.seed, num_episodes, split=split)
        columns = [
            [run.seed] * num_episodes,
            [split] * num_episodes,
            range(num_episodes),
            episodes.returns,
            episodes.lengths,
        ]
        part = pa.table([pa.array(column) for column in columns], names=tables.SCORES.names)
        parts.append(part.cast(tables.SCORES))
        means.append(f"{episodes.returns.mean():.4g} ({split})")
    write_bytes(root / run.path("scores"), tables.to_parquet(tables.concat(parts), spec.describe(run)))
    return f"{run}: mean return {', '.join(means)} over {num_episodes} episodes"


def play(
    spec: Spec, model: Act, seed: int, num_episodes: int, *, index: int = 0, split: str = "eval"
) -> Episodes:
    """Play episodes by the evaluation protocol of a cell, and return their returns and lengths.

    Args:
        spec: The cell's settings.
        model: A policy, or a model that was exported from one, on the CPU.
        seed: The run's seed.
        num_episodes: Number of episodes. They are played in the largest number of environments that divides
            it and is at most the protocol's ``num_envs``.
        index: 0 plays the episodes of the stored scores; another number plays other episodes.
        split: Conditions of the episodes: a key of ``spec.splits``.
    """
    num_envs = max(n for n in range(1, spec.evaluation.num_envs + 1) if num_episodes % n == 0)
    seeds = env_seeds(seed, "score", index, num_envs)
    envs = make_envs(spec, num_envs, seeds, training=False, split=split)
    generator = torch.Generator().manual_seed(seeds[0])
    act = acting(model, envs.single_action_space, spec.evaluation.deterministic, generator)
    with torch_threads(spec.evaluation.num_threads):
        episodes = play_episodes(act, envs, num_episodes)
    envs.close()
    return episodes
