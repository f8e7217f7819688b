"""Measure what training costs: env steps per second of processor time, and core hours for all runs.

Training uses one thread and the paper's hyper-parameters, without the evaluations for the curve. Other work
on the machine hardly slows down a second of processor time, so this needs no quiet machine.
"""

import json
import time
from pathlib import Path

import click

from rllte.agent.base import Agent
from rllte.agent.offpolicy import OffPolicyAgent
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.names import Cell
from rllte.recipes.project import Project
from rllte.seeding import env_seeds
from rllte.torch_setup import keep_freed_memory, torch_threads

ROOT = Path(__file__).parents[1]
ENV_IDS = {"atari": "Pong-v5", "dmc": "walker_run", "procgen": "coinrun", "minigrid": "DoorKey-5x5-v0"}
PIPELINES = (
    "atari/ppo,atari/a2c,atari/impala,dmc/sac,dmc/ddpg,dmc/drqv2,procgen/ppo,minigrid/ppo,minigrid/a2c"
)


def rate(agent: Agent, seconds: float) -> float:
    """Return the env steps per second of processor time, measured over whole updates."""
    num_envs = agent.config.num_envs
    envs = agent.make_envs(num_envs, env_seeds(agent.seed, "train", 0, num_envs), True)
    obs, _ = envs.reset()
    agent.start_segment()
    first = agent.config.learning_starts if isinstance(agent, OffPolicyAgent) else 0
    start, first_step = 0.0, None
    while first_step is None or time.process_time() - start < seconds:
        obs = agent.update(envs, obs)
        agent.num_updates += 1
        if first_step is None and agent.env_step > first:
            start, first_step = time.process_time(), agent.env_step
    envs.close()
    return (agent.env_step - first_step) / (time.process_time() - start)


def env_steps_of_all_runs(benchmark: str, agent: str) -> int:
    """Return the env steps of all runs that the support list plans for an agent, at the paper scale."""
    support = Project(ROOT).support(benchmark)
    cells = [Cell(benchmark, agent, env_id) for env_id in support.env_ids]
    return support.num_seeds * sum(support.budget(cell) for cell in cells)


def _round(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")


@click.command(context_settings={"show_default": True})
@click.option("--pipelines", default=PIPELINES, help="Names, with commas between them.")
@click.option("--seconds", default=30.0, help="Of processor time for each.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(pipelines: str, seconds: float, as_json: bool) -> None:
    """Measure pipelines one after the other and print a table."""
    rates = {}
    print("| pipeline | measured on | env steps/s | env steps of all runs | core hours |")
    print("|:--|:--|--:|--:|--:|")
    keep_freed_memory()
    for name in pipelines.split(","):
        benchmark, agent = name.split("/")
        env_id = ENV_IDS[benchmark]
        built = BENCHMARK_CLASSES[benchmark](ROOT).load_apis(env_id, agent, scale="paper", num_threads=1)
        with torch_threads(1):
            rates[name] = rate(built, seconds)
        steps = env_steps_of_all_runs(benchmark, agent)
        hours = steps / rates[name] / 3600
        texts = (f"{_round(rates[name], 3):,g}", f"{steps:,}", f"{_round(hours, 2):,.0f}")
        print(f"| {name} | {env_id} | {' | '.join(texts)} |", flush=True)
    if as_json:
        print(json.dumps(rates))


if __name__ == "__main__":
    main()
