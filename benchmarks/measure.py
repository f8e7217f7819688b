"""Make one measurement of ``throughput.py`` in its own process, and print it as a line of JSON."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from throughput import CASES, CORES, Case, Result
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rllte.agent.base import Agent
from rllte.agent.encoders import ENCODERS
from rllte.agent.evaluation import Envs
from rllte.agent.offpolicy import OffPolicyAgent
from rllte.agent.onpolicy import OnPolicyAgent
from rllte.agent.rollout import Batch
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.names import Cell
from rllte.recipes.project import Project
from rllte.seeding import env_seeds
from rllte.torch_setup import keep_freed_memory

ROOT = Path(__file__).parents[1]
WARM_UP = 100  # env steps with learning before an off-policy agent is timed
CHUNK = 100  # env steps between two readings of the clock


class Timed:
    """A function that counts its calls and the seconds spent in them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls, self.seconds = function, 0, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = self.function(*args, **options)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return result


def flops(function: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def measure_gemm() -> Result:
    """Return the rate of the fastest of many float32 matrix products, in FLOP/s."""
    size = 2048
    a, b = torch.rand(size, size), torch.rand(size, size)
    seconds = []
    for _ in range(20):
        product = Timed(torch.mm)
        product(a, b)
        seconds.append(product.seconds)
    return {"rate": 2 * size**3 / min(seconds)}


def measure_ours(case: Case, seconds: float) -> Result:
    """Return the rate of training as in ``Agent.train``, but without the evaluations for the curve."""
    agent = BENCHMARK_CLASSES[case.benchmark](ROOT).load_apis(
        case.env_id, case.agent, scale="published", num_threads=torch.get_num_threads()
    )
    num_envs = agent.config.num_envs
    keep_freed_memory()
    envs = agent.make_envs(num_envs, env_seeds(agent.seed, "train", 0, num_envs), True)
    obs, _ = envs.reset()
    agent.start_segment()
    if isinstance(agent, OnPolicyAgent):
        return on_policy(agent, envs, obs, seconds, case.update_share is not None)
    return off_policy(agent, envs, obs, seconds)


def update(agent: Agent, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
    obs = agent.update(envs, obs)
    agent.num_updates += 1
    return obs


def on_policy(agent: OnPolicyAgent, envs: Envs, obs: torch.Tensor, seconds: float, with_bare: bool) -> Result:
    """Time updates, and bare passes over as many samples.

    Half of the bare passes run before each update, half after it.
    """
    config = agent.config
    samples, obs = agent.collect(agent.network, envs, obs)
    one_batch = Batch(*(part[: config.batch_size] for part in samples))
    flops_per_batch = flops(lambda: agent.minimize(agent.loss, one_batch, 1, "network"))
    images = obs[torch.arange(config.batch_size) % config.num_envs]
    images = images.contiguous(memory_format=ENCODERS[config.encoder].memory_format)
    half = config.n_epochs * agent.steps_per_update // config.batch_size // 2
    updates, bare, minimize = Timed(update), Timed(bare_passes), Timed(agent.minimize)
    agent.minimize = minimize
    while updates.seconds < seconds:
        if with_bare:
            bare(agent.network, images, half)
        obs = updates(agent, envs, obs)
        if with_bare:
            bare(agent.network, images, half)
    result = {
        "rate": agent.env_step / updates.seconds,
        "flops_per_step": config.n_epochs * flops_per_batch / config.batch_size,
        "update_rate": config.n_epochs * agent.env_step / minimize.seconds,
    }
    if with_bare:
        result["bare_rate"] = bare.calls * half * config.batch_size / bare.seconds
    return result


def bare_passes(network: nn.Module, obs: torch.Tensor, num_batches: int) -> None:
    """Run only the forward and backward passes of a network on one minibatch."""
    for _ in range(num_batches):
        network.zero_grad()
        logits, values = network(obs)
        (logits.sum() + values.sum()).backward()


def off_policy(agent: OffPolicyAgent, envs: Envs, obs: torch.Tensor, seconds: float) -> Result:
    """Time env steps, each with a gradient step, after the steps that only fill the replay."""

    def train(num_steps: int) -> None:
        nonlocal obs
        for _ in range(num_steps // agent.steps_per_update):
            obs = update(agent, envs, obs)

    train(agent.config.learning_starts + WARM_UP)
    flops_per_step = flops(lambda: agent.learn(agent.env_step))
    chunks = Timed(train)
    while chunks.seconds < seconds:
        chunks(CHUNK)
    rows = agent.replay.state_dict()["rows"]
    return {
        "rate": chunks.calls * CHUNK / chunks.seconds,
        "flops_per_step": flops_per_step,
        "replay_bytes": rows.nbytes // len(rows) * agent.config.buffer_size,
    }


def measure_peer(case: Case, vec_env: str, seconds: float) -> Result:
    """Return the rate of stable-baselines3's ``learn``."""
    import peers

    cell = Cell(case.benchmark, case.agent, case.env_id)
    settings = Project(ROOT).spec(cell, "published").hyperparameters
    model = peers.MODELS[cell.benchmark](case.env_id, settings, vec_env)
    if case.agent == "ppo":
        first = chunk = settings.num_envs * settings.num_steps
    else:
        first, chunk = settings.learning_starts + WARM_UP, CHUNK
    model.learn(first)
    learn = Timed(model.learn)
    while learn.seconds < seconds:
        learn(chunk, reset_num_timesteps=False)
    model.env.close()
    return {"rate": learn.calls * chunk / learn.seconds}


@click.command()
@click.argument("name", type=click.Choice(list(CASES)))
@click.argument("who")
@click.option("--seconds", default=20.0)
@click.option("--threads", default=0)
@click.option("--peer-threads", default=0)
def main(name: str, who: str, seconds: float, threads: int, peer_threads: int) -> None:
    """Measure ``ours``, ``gemm``, or stable-baselines3 with one kind of its vectors of environments."""
    case = CASES[name]
    num_threads = {"gemm": CORES, "ours": threads or case.num_threads}.get(who, peer_threads)
    if num_threads:
        torch.set_num_threads(num_threads)
    if who == "gemm":
        result = measure_gemm()
    else:
        result = measure_ours(case, seconds) if who == "ours" else measure_peer(case, who, seconds)
    max_rss_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result, "num_threads": torch.get_num_threads(), "max_rss_bytes": max_rss_bytes}))


if __name__ == "__main__":
    main()
