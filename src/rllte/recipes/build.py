"""Build environments and agents from the settings of a cell."""

import inspect
import reprlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import safetensors.torch
import torch

from rllte.agent import AGENTS
from rllte.agent.base import Agent
from rllte.agent.evaluation import Envs
from rllte.env import ENVS
from rllte.errors import HubError, UnknownNameError
from rllte.extras import load
from rllte.recipes.spec import Spec
from rllte.seeding import env_seeds

_OWN = ("env_id", "num_envs", "seed", "device", "num_threads", "render_mode")
"""Arguments that ``make_envs`` itself passes to every function in ``ENVS``; settings cannot set them."""


def make_envs(
    spec: Spec,
    num_envs: int,
    seeds: Sequence[int],
    training: bool,
    *,
    device: str | torch.device = "cpu",
    split: str = "eval",
    render_mode: str | None = None,
) -> Envs:
    """Make the environments of a cell.

    Args:
        spec: The cell's settings.
        num_envs: The number of parallel environments.
        seeds: One simulator seed for each environment.
        training: Whether to use the options for training, which may clip rewards and end an episode with
            each lost life.
        device: The PyTorch device for observations, rewards and flags.
        split: The split of the scores to play, such as ``"eval"``; ignored in training.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render()``.
    """
    options = spec.env.get("training" if training else spec.splits[split], {})
    make = load(ENVS[spec.cell.benchmark], "Environments need")
    _check_options(options, make, spec)
    # The number of the simulator's threads does not change results. With 0, envpool uses the cores that
    # PyTorch leaves idle while a GPU computes.
    num_threads = spec.train.num_threads if torch.device(device).type == "cpu" else 0
    envs: Envs = make(
        spec.cell.env_id,
        num_envs,
        seeds,
        device,
        num_threads=num_threads,
        **({"render_mode": render_mode} if render_mode else {}),
        **options,
    )
    return envs


def _check_options(options: object, make: Callable[..., Envs], spec: Spec) -> None:
    """Check that the benchmark's environments accept the options under ``env`` in params.yaml.

    Raises:
        UnknownNameError: An option is unknown.
        HubError: The options are not keys and values.
    """
    where = f"pipelines/{spec.cell.benchmark}/**/params.yaml: env"
    if not isinstance(options, dict):
        raise HubError(f"{where} has {reprlib.repr(options)} as options; expected keys and values.")
    parameters = inspect.signature(make).parameters
    known = [name for name in parameters if name not in _OWN]
    for name in options:
        if name not in known:
            raise UnknownNameError("key", name, known, where=where)


def sample_observations(spec: Spec, seed: int, num_envs: int = 16, num_steps: int = 16) -> torch.Tensor:
    """Return observations of random play, by which two models of a policy can be compared.

    Args:
        spec: The cell's settings.
        seed: The run's seed.
        num_envs: The number of parallel environments.
        num_steps: The number of observations of each environment.

    Returns:
        ``(num_steps * num_envs, *obs_shape)``.
    """
    envs = make_envs(spec, num_envs, env_seeds(seed, "curve", 0, num_envs), training=False)
    envs.action_space.seed(int(np.random.default_rng(seed).integers(2**31)))
    obs, _ = envs.reset()
    batch = [obs]
    for _ in range(num_steps - 1):
        obs, *_ = envs.step(envs.action_space.sample())
        batch.append(obs)
    envs.close()
    return torch.cat(batch)


def make_trained_agent(spec: Spec, seed: int, weights: bytes, name: str) -> Agent:
    """Build an agent whose policy has stored weights, in eval mode on the CPU.

    Args:
        spec: The cell's settings.
        seed: The run's seed.
        weights: The content of a safetensors file.
        name: The name of that file, for the error.

    Raises:
        HubError: The weights do not fit the policy.
    """
    agent = make_agent(spec, seed)
    try:
        agent.policy.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise HubError(f"{name} does not fit the policy of {spec.cell.agent}: {reason}") from None
    agent.policy.eval()
    return agent


def make_agent(spec: Spec, seed: int, device: str | torch.device = "cpu") -> Agent:
    """Build an untrained agent from a spec."""
    agent: Agent = load(AGENTS[spec.cell.agent], "Training needs")(
        spec.hyperparameters,
        spec.train,
        partial(make_envs, spec, device=device),
        seed=seed,
        device=device,
        num_train_steps=spec.num_train_steps,
        env_name=f"{spec.cell.benchmark}/{spec.cell.env_id} {spec.env}",
    )
    return agent
