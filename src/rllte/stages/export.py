"""Export a run: write its policy as a TorchScript model that was checked against the policy."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from rllte import tables, torchscript
from rllte.agent.base import Agent
from rllte.errors import HubError
from rllte.files import sha256, write_bytes
from rllte.names import Run
from rllte.recipes.build import sample_observations
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec
from rllte.stages.evaluate import play
from rllte.stages.train import load_policy

TOLERANCE = 1e-5
"""Largest accepted difference between an output of the model and that of the policy."""


def export(root: Path, run: Run) -> str:
    """Export the policy of a run as TorchScript and check the model; return one line that sums it up.

    Raises:
        HubError: The model's outputs differ from the policy's, or its episodes from the stored scores.
    """
    spec = Project(root).spec(run.cell)
    agent = load_policy(root, run, spec)
    _, returns = tables.read_eval_scores((root / run.path("scores")).read_bytes(), run.path("scores"))
    metadata = {
        **spec.training(),
        "run": str(run),
        "spec": spec.hash,
        "observation_space": str(agent.observation_space),
        "action_space": str(agent.action_space),
        "output": "logits" if hasattr(agent.action_space, "n") else "action in [-1, 1]",
        "mean_score": round(float(returns.mean(dtype=np.float64)), 6),
        "policy_sha256": sha256((root / run.path("policy")).read_bytes()),
    }
    data = torchscript.dump(agent.policy, metadata)
    model = torchscript.load(data, run.path("model"))
    _check_outputs(model, agent, spec, run)
    replayed = play(spec, model, run.seed, spec.evaluation.num_envs).returns.astype(np.float32)
    if not np.array_equal(replayed, returns[: len(replayed)]):
        raise HubError(
            f"{run}: the model's episodes return {replayed}, but the stored scores are "
            f"{returns[: len(replayed)]}. Evaluate the run again."
        )
    write_bytes(root / run.path("model"), data)
    return f"{run}: {len(data) / 1e6:.2f} MB, agrees with the policy"


@torch.no_grad()
def _check_outputs(model: nn.Module, agent: Agent, spec: Spec, run: Run) -> None:
    obs = sample_observations(spec, run.seed)
    difference = (model(obs) - agent.policy(obs)).abs().max().item()
    if not difference <= TOLERANCE:
        raise HubError(f"{run}: the model's outputs differ from the policy's by {difference:.2g}.")
