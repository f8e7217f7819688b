"""Training a run: its curves, its policy's weights, and what the run cost."""

import json
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from rllte import tables
from rllte.agent.base import Agent
from rllte.errors import MissingArtifactError
from rllte.files import write_bytes
from rllte.names import Run
from rllte.recipes.build import make_agent
from rllte.recipes.project import Project
from rllte.recipes.spec import Spec


def train(root: Path, run: Run, watch: Callable[[Agent], None] | None = None) -> str:
    """Train a run and write its curves, policy and cost; an interrupted one goes on where it stopped.

    Args:
        root: The repository.
        run: Which run.
        watch: Is called with the agent at each point of the curves and after each resume point.

    Returns:
        One line for people.

    Raises:
        HubError: The cell's device is not there.
    """
    spec = Project(root).spec(run.cell)
    agent = make_agent(spec, run.seed, spec.device)
    resume = root / run.resume_path(spec.hash)
    start, first_step = time.perf_counter(), 0
    if resume.exists():
        first_step = (
            torch.load(resume, map_location="cpu", weights_only=True)["num_updates"] * agent.steps_per_update
        )
    curves = agent.train(resume=resume, description=str(run), watch=watch)
    seconds = time.perf_counter() - start
    metadata = spec.describe(run)
    tensors = {name: value.contiguous().clone() for name, value in agent.policy.state_dict().items()}
    # one key: the order of several would differ from process to process
    policy = safetensors.torch.save(tensors, {"rllte_hub": json.dumps(metadata)})
    write_bytes(root / run.path("policy"), policy)
    write_bytes(root / run.path("curves"), tables.to_parquet(curves, metadata))
    cost = {
        "env_steps": agent.env_step,
        "env_steps_per_s": round((agent.env_step - first_step) / seconds, 1),
        "resumed_at_env_step": first_step,
        "seconds": round(seconds, 1),
        "num_threads": spec.train.num_threads,
        "device": str(agent.device),
        **({"gpu": torch.cuda.get_device_name(agent.device)} if agent.device.type == "cuda" else {}),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    write_bytes(root / run.path("train"), (json.dumps(cost, indent=2) + "\n").encode())
    shutil.rmtree(resume.parent)
    last = curves.column("episode_return")[-1].as_py()
    rate = cost["env_steps_per_s"]
    return f"{run}: {agent.env_step:,} env steps at {rate} a second, last evaluation {last:.4g}"


def load_policy(root: Path, run: Run, spec: Spec) -> Agent:
    """Return the agent of a run with the weights of its stored policy.

    Raises:
        MissingArtifactError: The policy is not in the checkout.
    """
    path = root / run.path("policy")
    if not path.exists():
        raise MissingArtifactError(
            run.path("policy"),
            f"{run.path('policy')} is not here. Get it with: dvc pull {run.path('policy')}",
        )
    agent = make_agent(spec, run.seed)
    agent.policy.load_state_dict(safetensors.torch.load(path.read_bytes()))
    agent.policy.eval()
    return agent


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
