"""Train a run, and write its curves, its policy's weights and its training cost."""

import json
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from rllte import tables
from rllte.agent.base import Agent
from rllte.files import read_pulled, write_bytes
from rllte.names import Run
from rllte.recipes.build import make_agent, make_trained_agent
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec


def train(root: Path, run: Run, watch: Callable[[Agent], None] | None = None) -> str:
    """Train a run and write its curves, its policy and its training cost.

    Training that was interrupted resumes from its last checkpoint.

    Args:
        root: The repository.
        run: The run.
        watch: Called with the agent at each point of the curves and after each checkpoint.

    Returns:
        One line that sums up the training.

    Raises:
        HubError: This machine does not have the cell's device.
    """
    spec = Project(root).spec(run.cell)
    agent = make_agent(spec, run.seed, spec.device)
    resume = root / run.resume_path(spec.hash)
    start = time.perf_counter()
    curves = agent.train(resume=resume, description=str(run), watch=watch)
    cost = _cost(agent, time.perf_counter() - start)
    metadata = spec.describe(run)
    write_bytes(root / run.path("policy"), _policy_bytes(agent, metadata))
    write_bytes(root / run.path("curves"), tables.to_parquet(curves, metadata))
    write_bytes(root / run.path("train"), (json.dumps(cost, indent=2) + "\n").encode())
    shutil.rmtree(resume.parent)
    last = curves.column("episode_return")[-1].as_py()
    rate = cost["env_steps_per_s"]
    return f"{run}: {agent.env_step:,} env steps at {rate} a second, last evaluation {last:.4g}"


def _policy_bytes(agent: Agent, metadata: dict[str, Any]) -> bytes:
    tensors = {name: value.contiguous().clone() for name, value in agent.policy.state_dict().items()}
    # only one key: the order of several keys would differ from process to process
    return safetensors.torch.save(tensors, {"rllte_hub": json.dumps(metadata)})


def _cost(agent: Agent, seconds: float) -> dict[str, Any]:
    """Return the training cost: steps, time, machine and versions."""
    on_gpu = agent.device.type == "cuda"
    return {
        "env_steps": agent.env_step,
        "env_steps_per_s": round((agent.env_step - agent.resumed_at) / seconds, 1),
        "resumed_at_env_step": agent.resumed_at,
        "seconds": round(seconds, 1),
        "num_threads": agent.settings.num_threads,
        "device": str(agent.device),
        **({"gpu": torch.cuda.get_device_name(agent.device)} if on_gpu else {}),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def load_policy(root: Path, run: Run, spec: Spec) -> Agent:
    """Return the agent of a run with the weights of its stored policy.

    Raises:
        MissingArtifactError: The policy is not in the checkout.
    """
    path = run.path("policy")
    return make_trained_agent(spec, run.seed, read_pulled(root, path), path)


def cpu_name() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
