"""Train each agent on one small task with a known result, and print what it reached beside random play.

Settings are those of ``pipelines/`` at the published scale. A case takes from minutes to an hour on 2 cores:

    python benchmarks/learning.py --cases a2c_doorkey,ddpg_cartpole
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from rllte.agent.base import Agent
from rllte.agent.evaluation import play_episodes
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.seeding import env_seeds


@dataclass(frozen=True)
class Case:
    """A task to learn, the return that the last evaluations should reach, and the source of that number."""

    benchmark: str
    agent: str
    env_id: str
    num_train_steps: int
    target: float
    source: str


CASES = {
    "ppo_empty": Case("minigrid", "ppo", "Empty-5x5-v0", 60_000, 0.90, "solved: 1 - 0.9 × length / 100"),
    "ppo_doorkey": Case("minigrid", "ppo", "DoorKey-5x5-v0", 100_000, 0.90, "solved: 1 - 0.9 × length / 250"),
    "a2c_empty": Case("minigrid", "a2c", "Empty-5x5-v0", 100_000, 0.90, "solved: 1 - 0.9 × length / 100"),
    "a2c_doorkey": Case("minigrid", "a2c", "DoorKey-5x5-v0", 400_000, 0.90, "solved: 1 - 0.9 × length / 250"),
    "sac_cartpole": Case("dmc", "sac", "cartpole_balance", 60_000, 900.0, "pytorch_sac: 998 at 60,000"),
    "ddpg_cartpole": Case("dmc", "ddpg", "cartpole_balance", 60_000, 900.0, "pytorch_sac: 998 at 60,000"),
    "drqv2_cartpole": Case("dmc", "drqv2", "cartpole_balance", 25_000, 600.0, "drqv2: 910 at 50,000 frames"),
    "ppo_coinrun": Case("procgen", "ppo", "coinrun", 262_144, 5.0, "train-procgen: 5.6 at 250,000"),
    "daac_coinrun": Case("procgen", "daac", "coinrun", 131_072, 4.0, "above random play"),
    "ppg_coinrun": Case("procgen", "ppg", "coinrun", 131_072, 4.0, "above random play"),
    "ppo_pong": Case("atari", "ppo", "Pong-v5", 1_000_000, -15.0, "above random play"),
    "impala_pong": Case("atari", "impala", "Pong-v5", 1_000_000, -18.5, "above random play"),
}


@dataclass(frozen=True)
class Outcome:
    """The result of a case: mean returns of random play and of the agent, and the agent's standard error."""

    random: float
    reached: float
    error: float
    target: float
    env_steps: int
    env_steps_per_s: float

    @property
    def passed(self) -> bool:
        """Return whether the target was reached, clearly above random play."""
        return self.reached >= self.target and self.reached > self.random + 3 * self.error


def random_return(agent: Agent, num_episodes: int) -> float:
    """Return the mean return of uniformly random actions."""
    envs = agent.make_envs(10, env_seeds(agent.seed, "score", 1, 10), False)
    envs.action_space.seed(agent.seed)
    episodes = play_episodes(lambda _: envs.action_space.sample(), envs, num_episodes)
    envs.close()
    return float(episodes.returns.mean())


def learn(case: Case, seed: int, log: Path | None) -> Outcome:
    """Train a case and evaluate its last policy."""
    # drawing frames is slow, so training has fewer and shorter evaluations
    points = {"num_points": 5, "num_eval_episodes": 2} if case.agent == "drqv2" else {"num_points": 20}
    agent = BENCHMARK_CLASSES[case.benchmark]().load_apis(
        case.env_id, case.agent, seed, scale="published", **points
    )
    agent.num_train_steps = case.num_train_steps  # the curve has all points
    num_episodes = 10 if case.benchmark == "dmc" else 100
    random = random_return(agent, num_episodes)
    start = time.perf_counter()
    agent.train(case.num_train_steps, log=log)
    seconds = time.perf_counter() - start
    returns, _ = agent.evaluate(env_seeds(seed, "score", 0, 10), num_episodes)
    return Outcome(
        random=round(random, 3),
        reached=round(float(returns.mean()), 3),
        error=round(float(returns.std(ddof=1) / np.sqrt(num_episodes)), 3),
        target=case.target,
        env_steps=agent.env_step,
        env_steps_per_s=round(agent.env_step / seconds, 1),
    )


@click.command(context_settings={"show_default": True})
@click.option("--cases", default=",".join(CASES), help="Names, with commas between them.")
@click.option("--seed", default=0)
@click.option("--logs", type=click.Path(path_type=Path), help="A folder that gets each case's curve as CSV.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(cases: str, seed: int, logs: Path | None, as_json: bool) -> None:
    """Train the cases one after the other and print a table."""
    outcomes = {}
    print("| case | env steps | random | reached | target | from | steps/s | |")
    print("|:--|--:|--:|--:|--:|:--|--:|:--|")
    for name in cases.split(","):
        case = CASES[name]
        outcome = learn(case, seed, logs / f"{name}-{seed}.csv" if logs else None)
        outcomes[name] = {**asdict(outcome), "seed": seed, "passed": outcome.passed}
        print(
            f"| {name} | {outcome.env_steps:,} | {outcome.random:.4g} | {outcome.reached:.4g} ± "
            f"{outcome.error:.2g} | {case.target:g} | {case.source} | {outcome.env_steps_per_s:,.0f} | "
            f"{'reached' if outcome.passed else 'NOT REACHED'} |",
            flush=True,
        )
    if as_json:
        print(json.dumps(outcomes))
    raise SystemExit(0 if all(outcome["passed"] for outcome in outcomes.values()) else 1)


if __name__ == "__main__":
    main()
